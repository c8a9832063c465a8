/* Post-processors: the special tokens around the ids of one text. Whatever tokenizer.json says
 * comes down to a list of ids before the text and one after it. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

static int append_id(struct dinm_tokenizer *t, const char *where, bool after, const cJSON *item,
                     struct dinm_error *err)
{
    const double number = cJSON_IsNumber(item) ? item->valuedouble : -1;
    const int32_t id = number >= 0 && number <= DINM_MAX_ID ? (int32_t)number : -1;
    char room[64];

    if (id < 0 || id != number || (size_t)id >= t->vocab.n_ids || !t->vocab.pieces[id].known) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: post_processor adds %s, which is not an id of the vocabulary", where,
                         dinm_json_describe(item, room));
    }
    return dinm_ids_append(after ? &t->after : &t->before, &id, 1, err);
}

/* ["</s>", 2] */
static int read_pair(struct dinm_tokenizer *t, struct dinm_json j, const char *key, bool after,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *pair = NULL;

    TRY(dinm_json_get_array(j, key, &pair, err));
    if (cJSON_GetArraySize(pair) != 2) {
        return dinm_fail(err, DINM_FAILED, "%s: post_processor.%s: expected [token, id]", j.where,
                         key);
    }
    TRY(append_id(t, j.where, after, pair->child->next, err));
out:
    return status;
}

/* The ids of one special token of a template. */
static int read_special(struct dinm_tokenizer *t, const char *where, const cJSON *specials,
                        const char *name, bool after, struct dinm_error *err)
{
    const struct dinm_json j = {.object = dinm_json_find(specials, name), .where = where};
    int status = DINM_OK;
    const cJSON *ids = NULL;
    const cJSON *id = NULL;

    if (!cJSON_IsObject(j.object)) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the template uses \"%.100s\", which is not in its "
                         "special_tokens",
                         where, name);
    }
    TRY(dinm_json_get_array(j, "ids", &ids, err));
    cJSON_ArrayForEach(id, ids)
    {
        TRY(append_id(t, where, after, id, err));
    }
out:
    return status;
}

static int read_template(struct dinm_tokenizer *t, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    bool after = false;
    const cJSON *single = NULL;
    const cJSON *specials = NULL;
    const cJSON *item = NULL;

    TRY(dinm_json_get_array(j, "single", &single, err));
    TRY(dinm_json_get_object(j, "special_tokens", &specials, err));
    cJSON_ArrayForEach(item, single)
    {
        const struct dinm_json special = {.object = dinm_json_find(item, "SpecialToken"),
                                          .where = j.where};
        const cJSON *id = dinm_json_find(dinm_json_find(item, "Sequence"), "id");
        const char *name = NULL;

        if (special.object != NULL) {
            TRY(dinm_json_get_text(special, "id", &name, err));
            TRY(read_special(t, j.where, specials, name, after, err));
        } else if (!after && cJSON_IsString(id) && strcmp(id->valuestring, "A") == 0) {
            after = true;
        } else {
            return dinm_fail(err, DINM_FAILED,
                             "%s: the template for a single text has something "
                             "other than special tokens and, once, the text",
                             j.where);
        }
    }
    if (!after) {
        return dinm_fail(err, DINM_FAILED, "%s: the template for a single text lacks the text",
                         j.where);
    }
out:
    return status;
}

/* A later processor of a sequence puts its tokens outside of those before it; but behind a template
 * with tokens of its own, the reference treats each of them as one more text. */
static int read_outer(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                      bool templated, struct dinm_error *err)
{
    const struct dinm_ids inner = t->before;
    const char *type = "";
    int status = dinm_tokenizer_type(object, where, "post_processor", &type, err);

    if (status < 0) {
        return status;
    }
    if (templated && inner.n_ids + t->after.n_ids > 0 && strcmp(type, "ByteLevel") != 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the post-processor %.100s behind a TemplateProcessing with tokens of"
                         " its own is not supported",
                         where, type);
    }
    t->before = (struct dinm_ids){0};
    status = dinm_tokenizer_template_read(t, where, object, err);
    if (status == DINM_OK) {
        status = dinm_ids_append(&t->before, inner.ids, inner.n_ids, err);
    }
    free(inner.ids);
    return status;
}

int dinm_tokenizer_template_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                 struct dinm_error *err)
{
    const struct dinm_json j = {.object = object, .where = where};
    int status = DINM_OK;
    const char *type = NULL;
    const cJSON *list = NULL;
    const cJSON *item = NULL;
    bool templated = false;

    TRY(dinm_tokenizer_type(object, where, "post_processor", &type, err));
    if (strcmp(type, "Sequence") == 0) {
        TRY(dinm_json_get_array(j, "processors", &list, err));
        cJSON_ArrayForEach(item, list)
        {
            TRY(read_outer(t, where, item, templated, err));
            templated = templated || strcmp(dinm_json_find(item, "type")->valuestring,
                                            "TemplateProcessing") == 0;
        }
    } else if (strcmp(type, "TemplateProcessing") == 0) {
        TRY(read_template(t, j, err));
    } else if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        TRY(read_pair(t, j, "cls", false, err));
        TRY(read_pair(t, j, "sep", true, err));
    } else if (strcmp(type, "ByteLevel") != 0) { /* that one only trims offsets */
        status = dinm_fail(err, DINM_FAILED, "%s: the post-processor %.100s is not supported",
                           where, type);
    }
out:
    return status;
}
