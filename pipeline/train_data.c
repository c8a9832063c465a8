/* The training data: JSON lines, tokenised once, and packs of records for one forward pass. */
#include "pipeline/train_private.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"

int dinm_train_data_add(struct dinm_train_data *data, struct dinm_train_record record,
                        struct dinm_error *err)
{
    void *records = data->records;
    if (dinm_grow(&records, &data->capacity, data->n_records + 1, sizeof *data->records,
                  "training records", err) < 0) {
        return DINM_FAILED;
    }
    data->records = records;
    record.n_tokens = data->ids.n_ids - record.first;
    data->records[data->n_records++] = record;
    return DINM_OK;
}

static int read_line(struct dinm_train_data *data, const char *where, const char *line, size_t n,
                     const struct dinm_train_reader *reader, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    char room[64];
    TRY(dinm_json_parse(where, line, n, &tree, err));
    if (!cJSON_IsObject(tree)) {
        status = dinm_fail(err, DINM_FAILED, "%s: expected an object, found %s", where,
                           dinm_json_describe(tree, room));
        goto out;
    }
    TRY(reader->objective->read(data, (struct dinm_json){tree, where}, reader, err));
out:
    cJSON_Delete(tree);
    return status;
}

static int read_lines(struct dinm_train_data *data, const char *path,
                      const struct dinm_buffer *text, const struct dinm_train_reader *reader,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer where = {0};
    size_t number = 1;
    for (size_t at = 0; at < text->n_bytes; number++) {
        const char *line = text->data + at;
        const char *end = memchr(line, '\n', text->n_bytes - at);
        const size_t n = end == NULL ? text->n_bytes - at : (size_t)(end - line);
        where.n_bytes = 0;
        TRY(dinm_buffer_append_format(&where, err, "%s line %zu", path, number));
        TRY(read_line(data, where.data, line, n, reader, err));
        at += n + 1;
    }
    if (data->n_records == 0) {
        status = data->n_left_out == 0
                     ? dinm_fail(err, DINM_FAILED, "%s holds no records", path)
                     : dinm_fail(err, DINM_FAILED,
                                 "%s: none of the %zu records has anything to learn within "
                                 "max_tokens %zu",
                                 path, data->n_left_out, reader->max_tokens);
    }
out:
    dinm_buffer_free(&where);
    return status;
}

int dinm_train_data_load(struct dinm_train_data *data, const char *path,
                         const struct dinm_train_reader *reader, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    TRY(dinm_file_read(path, &text, err));
    TRY(read_lines(data, path, &text, reader, err));
out:
    dinm_buffer_free(&text);
    return status;
}

void dinm_train_data_free(struct dinm_train_data *data)
{
    dinm_ids_free(&data->ids);
    free(data->records);
    *data = (struct dinm_train_data){0};
}

/* ---- packs ---- */

static int pack_grow(struct dinm_train_pack *p, size_t n, size_t n_tokens, struct dinm_error *err)
{
    int status = DINM_OK;
    void *ids = p->ids;
    void *first = p->first;
    void *loss_from = p->loss_from;
    void *labels = p->labels;
    TRY(dinm_grow(&ids, &p->ids_capacity, n_tokens, sizeof *p->ids, "a pack's tokens", err));
    p->ids = ids;
    TRY(dinm_grow(&first, &p->first_capacity, n + 1, sizeof *p->first, "a pack's records", err));
    p->first = first;
    TRY(dinm_grow(&loss_from, &p->loss_capacity, n, sizeof *p->loss_from, "a pack's records", err));
    p->loss_from = loss_from;
    TRY(dinm_grow(&labels, &p->labels_capacity, n, sizeof *p->labels, "a pack's records", err));
    p->labels = labels;
out:
    return status;
}

int dinm_train_pack_fill(struct dinm_train_pack *pack, const struct dinm_train_data *data,
                         const size_t *indices, size_t n, struct dinm_error *err)
{
    size_t n_tokens = 0;
    for (size_t i = 0; i < n; i++) {
        n_tokens += data->records[indices[i]].n_tokens;
    }
    if (pack_grow(pack, n, n_tokens, err) < 0) {
        return DINM_FAILED;
    }
    pack->n = n;
    pack->n_tokens = n_tokens;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct dinm_train_record *r = &data->records[indices[i]];
        memcpy(pack->ids + at, data->ids.ids + r->first, r->n_tokens * sizeof *pack->ids);
        pack->first[i] = at;
        pack->loss_from[i] = r->loss_from;
        pack->labels[i] = r->label;
        at += r->n_tokens;
    }
    pack->first[n] = at;
    return DINM_OK;
}

void dinm_train_pack_free(struct dinm_train_pack *pack)
{
    free(pack->ids);
    free(pack->first);
    free(pack->loss_from);
    free(pack->labels);
    *pack = (struct dinm_train_pack){0};
}
