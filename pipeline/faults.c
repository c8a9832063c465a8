/* Sentences, line by line. */
#include "pipeline/faults.h"

#include <stdio.h>
#include <string.h>

void dinm_faults_free(struct dinm_faults *faults)
{
    dinm_buffer_free(&faults->lines);
    *faults = (struct dinm_faults){0};
}

static bool is_listed(const struct dinm_faults *faults, const char *sentence)
{
    const size_t n = strlen(sentence);
    for (const char *line = faults->lines.data; line != NULL && *line != '\0';) {
        const size_t n_line = strcspn(line, "\n");
        if (n_line == n && memcmp(line, sentence, n) == 0) {
            return true;
        }
        line += n_line + 1;
    }
    return false;
}

int dinm_faults_add(struct dinm_faults *faults, struct dinm_error *failure, struct dinm_error *err)
{
    int status = DINM_OK;
    if (!is_listed(faults, failure->text)) {
        status = dinm_buffer_append_format(&faults->lines, err, "%s\n", failure->text);
        /* Usage only if there is nothing else. */
        faults->status =
            faults->n == 0 || failure->status != DINM_USAGE ? failure->status : faults->status;
        faults->n++;
    }
    *failure = (struct dinm_error){0};
    return status;
}

int dinm_faults_end(const struct dinm_faults *faults, const char *what, bool speaks,
                    struct dinm_error *err)
{
    const char *line = faults->lines.data;
    if (faults->n == 0) {
        return DINM_OK;
    }
    if (faults->n == 1) {
        return dinm_fail(err, faults->status, "%.*s", (int)strcspn(line, "\n"), line);
    }
    while (speaks && *line != '\0') {
        const size_t n = strcspn(line, "\n");
        fprintf(stderr, "dinm_pipeline: %.*s\n", (int)n, line);
        line += n + 1;
    }
    return dinm_fail(err, faults->status, "%zu %s are wrong", faults->n, what);
}
