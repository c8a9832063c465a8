/* Question files for knowledge retention: [{"question": text, "answers": [text, ...]}, ...]. */
#include "io/cases.h"
#include "io/file.h"
#include "io/json.h"
#include <stdlib.h>

/* number: the record's place in the file, from 1. Its answers go to `answers`. */
static int read_question(struct dinm_question *question, const char **answers, const char *name,
                         size_t number, const cJSON *object, struct dinm_error *err)
{
    struct dinm_buffer where = {0};
    const cJSON *array = NULL;
    const cJSON *answer;
    char room[64];
    int status;

    TRY(dinm_buffer_append_format(&where, err, "%s: record %zu", name, number));
    TRY(dinm_json_get_text((struct dinm_json){object, where.data}, "question", &question->question,
                           err));
    TRY(dinm_json_get_array((struct dinm_json){object, where.data}, "answers", &array, err));
    if (question->question[0] == '\0' || array->child == NULL) {
        status = dinm_fail(err, DINM_FAILED, "%s: 'question' and 'answers' must not be empty",
                           where.data);
        goto out;
    }
    question->answers = answers;
    cJSON_ArrayForEach(answer, array)
    {
        if (!cJSON_IsString(answer) || answer->valuestring[0] == '\0') {
            status = dinm_fail(err, DINM_FAILED,
                               "%s: 'answers' must hold strings that are not empty, found %s",
                               where.data, dinm_json_describe(answer, room));
            goto out;
        }
        answers[question->n_answers++] = answer->valuestring;
    }
out:
    dinm_buffer_free(&where);
    return status;
}

static int allocate(struct dinm_questions *q, const char *name, struct dinm_error *err)
{
    const cJSON *record;
    const cJSON *answer;
    size_t n = 0;
    size_t n_answers = 0;
    char room[64];

    if (!cJSON_IsArray(q->tree) || q->tree->child == NULL) {
        return dinm_fail(err, DINM_FAILED, "%s: expected an array of questions, found %s", name,
                         cJSON_IsArray(q->tree) ? "an empty one"
                                                : dinm_json_describe(q->tree, room));
    }
    cJSON_ArrayForEach(record, q->tree)
    {
        n++;
        cJSON_ArrayForEach(answer, dinm_json_find(record, "answers"))
        {
            n_answers++;
        }
    }
    q->questions = dinm_alloc(n, sizeof *q->questions, "the questions", err);
    q->answers = dinm_alloc(n_answers, sizeof *q->answers, "the answers", err);
    return q->questions == NULL || q->answers == NULL ? DINM_FAILED : DINM_OK;
}

int dinm_questions_parse(struct dinm_questions *q, const char *name, const char *text,
                         size_t n_bytes, struct dinm_error *err)
{
    const cJSON *record;
    const char **answers;
    int status;

    *q = (struct dinm_questions){0};
    TRY(dinm_json_parse(name, text, n_bytes, &q->tree, err));
    TRY(allocate(q, name, err));
    answers = q->answers;
    cJSON_ArrayForEach(record, q->tree)
    {
        struct dinm_question *question = &q->questions[q->n_questions];

        TRY(read_question(question, answers, name, q->n_questions + 1, record, err));
        answers += question->n_answers;
        q->n_questions++;
    }
out:
    if (status < 0) {
        dinm_questions_free(q);
    }
    return status;
}

int dinm_questions_load(struct dinm_questions *q, const char *path, struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status;

    *q = (struct dinm_questions){0};
    TRY(dinm_file_read(path, &text, err));
    status = dinm_questions_parse(q, path, text.data, text.n_bytes, err);
out:
    dinm_buffer_free(&text);
    return status;
}

void dinm_questions_free(struct dinm_questions *q)
{
    if (q != NULL) {
        free(q->questions);
        free(q->answers);
        cJSON_Delete(q->tree);
        *q = (struct dinm_questions){0};
    }
}
