/* Text put together piece by piece. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/utf8.h"
#include "pipeline/results_page.h"

void dinm_page_put(struct dinm_page *p, const char *text)
{
    if (p->status == DINM_OK) {
        p->status = dinm_buffer_append_text(&p->text, text, p->err);
    }
}

static void put_bytes(struct dinm_page *p, const char *bytes, size_t n_bytes)
{
    if (p->status == DINM_OK) {
        p->status = dinm_buffer_append(&p->text, bytes, n_bytes, p->err);
    }
}

void dinm_page_format(struct dinm_page *p, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (n >= 0 && (size_t)n < sizeof line) {
        dinm_page_put(p, line);
        return;
    }
    char *text = n < 0 ? NULL : dinm_alloc((size_t)n + 1, 1, "a line of a page", p->err);
    if (text) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)n + 1, format, arguments);
        va_end(arguments);
        dinm_page_put(p, text);
    } else if (p->status == DINM_OK) {
        p->status = dinm_fail(p->err, DINM_FAILED, "a line of a page could not be formatted");
    }
    free(text);
}

void dinm_page_json_text(struct dinm_page *p, const char *text)
{
    if (!text) {
        dinm_page_put(p, "null");
    } else if (p->status == DINM_OK) {
        p->status = dinm_json_put_text(&p->text, text, strlen(text), p->err);
    }
}

/* 100 rather than 1e+02, which has fewer digits. */
static bool put_whole(struct dinm_page *p, double value)
{
    bool whole = fabs(value) < 1e15 && value == floor(value);
    if (whole) {
        dinm_page_format(p, "%.0f", value == 0 ? 0 : value);
    }
    return whole;
}

void dinm_page_float(struct dinm_page *p, float value)
{
    if (!put_whole(p, (double)value) && p->status == DINM_OK) {
        p->status = dinm_json_put_float(&p->text, value, p->err);
    }
}

void dinm_page_double(struct dinm_page *p, double value)
{
    if (!put_whole(p, value) && p->status == DINM_OK) {
        p->status = dinm_json_put_double(&p->text, value, p->err);
    }
}

/* What stands for the character at text, or NULL if it stands for itself. */
typedef const char *replacement_function(const char *text, bool valid);

static void put_replaced(struct dinm_page *p, const char *text, replacement_function *replacement)
{
    const char *plain = text;
    size_t n_bytes = strlen(text);
    for (size_t i = 0; i < n_bytes;) {
        bool valid = false;
        size_t step = dinm_utf8_step(text + i, n_bytes - i, &valid);
        const char *instead = replacement(text + i, valid);
        if (instead) {
            put_bytes(p, plain, (size_t)(text + i - plain));
            dinm_page_put(p, instead);
            plain = text + i + step;
        }
        i += step;
    }
    put_bytes(p, plain, (size_t)(text + n_bytes - plain));
}

static const char *replace_for_html(const char *text, bool valid)
{
    switch (valid ? *text : '\x01') {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
        return NULL;
    case '\x7f':
        return "\xef\xbf\xbd";
    default:
        /* control characters are not allowed in HTML */
        return !valid || (*text >= 0 && *text < ' ') ? "\xef\xbf\xbd" : NULL;
    }
}

void dinm_page_estimate(struct dinm_page *p, const char *name, struct dinm_estimate e)
{
    dinm_page_format(p, "\"%s\": {\"value\": ", name);
    dinm_page_double(p, e.value);
    dinm_page_put(p, ", \"low\": ");
    dinm_page_double(p, e.low);
    dinm_page_put(p, ", \"high\": ");
    dinm_page_double(p, e.high);
    dinm_page_put(p, "}");
}

void dinm_page_html(struct dinm_page *p, const char *text)
{
    put_replaced(p, text, replace_for_html);
}

static const char *replace_for_markdown(const char *text, bool valid)
{
    switch (valid ? *text : '\x01') {
    case '|':
        return "\\|";
    case '<':
        return "&lt;";
    case '&':
        return "&amp;";
    case '*':
        return "\\*";
    case '_':
        return "\\_";
    case '`':
        return "\\`";
    case '[':
        return "\\[";
    case '\\':
        return "\\\\";
    case '\n':
    case '\t':
    case '\r':
        return " ";
    default:
        return !valid || (*text >= 0 && *text < ' ') ? "\xef\xbf\xbd" : NULL;
    }
}

void dinm_page_markdown(struct dinm_page *p, const char *text)
{
    put_replaced(p, text, replace_for_markdown);
}

int dinm_page_save(struct dinm_page *p, const char *folder, const char *name)
{
    int status = p->status;
    char *path = NULL;
    TRY(status);
    path = dinm_path_join(folder, name, p->err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_file_write(path, p->text.data, p->text.n_bytes, p->err));
out:
    free(path);
    dinm_buffer_free(&p->text);
    return status;
}
