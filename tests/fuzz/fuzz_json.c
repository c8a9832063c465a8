/* Any bytes -> strict JSON -> text of our own -> the same tree again. */
#include "io/json.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

/* Recursion as deep as the parser allows, 512. */
static void put(struct dinm_buffer *b, const cJSON *item)
{
    const cJSON *member;

    if (cJSON_IsString(item)) {
        require(dinm_json_put_text(b, item->valuestring, strlen(item->valuestring), NULL) == 0);
    } else if (cJSON_IsNumber(item)) {
        require(dinm_json_put_double(b, item->valuedouble, NULL) == 0);
    } else if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
        require(dinm_buffer_append_text(b, cJSON_IsArray(item) ? "[" : "{", NULL) == 0);
        cJSON_ArrayForEach(member, item)
        {
            if (member != item->child) {
                require(dinm_buffer_append_text(b, ",", NULL) == 0);
            }
            if (cJSON_IsObject(item)) {
                require(dinm_json_put_text(b, member->string, strlen(member->string), NULL) == 0);
                require(dinm_buffer_append_text(b, ":", NULL) == 0);
            }
            put(b, member);
        }
        require(dinm_buffer_append_text(b, cJSON_IsArray(item) ? "]" : "}", NULL) == 0);
    } else {
        require(dinm_buffer_append_text(
                    b, cJSON_IsNull(item) ? "null" : (cJSON_IsTrue(item) ? "true" : "false"),
                    NULL) == 0);
    }
}

/* Name by name and bit by bit, in order. */
static void require_equal(const cJSON *a, const cJSON *b)
{
    const cJSON *y = b->child;
    const cJSON *x;

    require((a->type & 0xFF) == (b->type & 0xFF));
    require((a->string == NULL) == (b->string == NULL));
    require(a->string == NULL || strcmp(a->string, b->string) == 0);
    require(!cJSON_IsString(a) || strcmp(a->valuestring, b->valuestring) == 0);
    require(!cJSON_IsNumber(a) || memcmp(&a->valuedouble, &b->valuedouble, sizeof(double)) == 0);
    for (x = a->child; x != NULL; x = x->next, y = y->next) {
        require(y != NULL);
        require_equal(x, y);
    }
    require(y == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    cJSON *tree = NULL;
    cJSON *again = NULL;

    if (dinm_json_parse("fuzz", (const char *)bytes, n_bytes, &tree, &err) < 0) {
        require(tree == NULL && err.status < 0 && err.text[0] != '\0');
        return 0;
    }
    put(&text, tree);
    require(dinm_json_parse("again", text.data, text.n_bytes, &again, &err) == 0);
    require_equal(tree, again);
    cJSON_Delete(tree);
    cJSON_Delete(again);
    dinm_buffer_free(&text);
    return 0;
}
