/* Reading and writing of unit payloads. */
#include "pipeline/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "io/json.h"

int dinm_record_parse(const struct dinm_records *records, size_t unit, cJSON **tree,
                      struct dinm_error *err)
{
    const char *payload = unit < records->n_units ? records->payloads[unit] : NULL;
    if (!payload) {
        return dinm_fail(err, DINM_FAILED, "the journal has no record of unit %zu", unit);
    }
    return dinm_json_parse("the journal", payload, strlen(payload), tree, err);
}

const char *dinm_record_failure(const cJSON *tree)
{
    return cJSON_GetStringValue(dinm_json_find(tree, "failed"));
}

int dinm_record_put_failure(struct dinm_sink *sink, size_t unit, struct dinm_error *err,
                            const char *format, ...)
{
    int status = DINM_OK;
    struct dinm_buffer payload = {0};
    char reason[1024];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    TRY(n < 0 ? dinm_fail(err, DINM_FAILED, "a failure could not be put into words") : DINM_OK);
    TRY(dinm_buffer_append_text(&payload, "{\"failed\": ", err));
    TRY(dinm_json_put_text(&payload, reason, strlen(reason), err));
    TRY(dinm_buffer_append_text(&payload, "}", err));
    TRY(dinm_sink_put(sink, unit, &payload, err));
out:
    dinm_buffer_free(&payload);
    return status;
}
