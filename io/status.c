/* One sentence about what failed; the first one wins. */
#include "io/status.h"
#include "io/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int dinm_fail(struct dinm_error *err, int status, const char *format, ...)
{
    va_list arguments;

    if (err == NULL || err->status < 0) {
        return status;
    }
    err->status = status;
    va_start(arguments, format);
    if (vsnprintf(err->text, sizeof err->text, format, arguments) < 0) {
        err->text[0] = '\0';
    }
    va_end(arguments);
    dinm_utf8_make_line(err->text);
    return status;
}

int dinm_fail_errno(struct dinm_error *err, int code, const char *what, const char *path)
{
    char reason[256];

    if (strerror_r(code, reason, sizeof reason) != 0) {
        snprintf(reason, sizeof reason, "error number %d", code);
    }
    return dinm_fail(err, DINM_FAILED, "%s %s: %s", what, path, reason);
}
