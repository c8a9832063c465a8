/* Lines on stderr. */
#include "io/log.h"
#include "io/mem.h"
#include "io/utf8.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum dinm_log_level log_level = DINM_LOG_NOTICE;
static int log_rank = 0;

void dinm_log_set_level(enum dinm_log_level level)
{
    log_level = level;
}

void dinm_log_set_rank(int rank)
{
    log_rank = rank;
}

static void write_line(const char *line, size_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = write(STDERR_FILENO, line, n_bytes);

        if (n < 0 && errno != EINTR) {
            return; /* nowhere is left to say that the place for saying things is gone */
        }
        if (n > 0) {
            line += n;
            n_bytes -= (size_t)n;
        }
    }
}

void dinm_log(enum dinm_log_level level, const char *format, ...)
{
    char room[1024];
    char *line = room;
    char tag[32] = "";
    int tag_length = 0;
    int length;
    va_list arguments;
    va_list again;

    if (level > log_level) {
        return;
    }
    if (log_rank != 0) {
        tag_length = snprintf(tag, sizeof tag, "[rank %d] ", log_rank);
    }
    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0) {
        size_t n_bytes = (size_t)tag_length + (size_t)length + 2;

        if (n_bytes > sizeof room) {
            line = malloc(n_bytes);
        }
        if (line == NULL) { /* a cut line is better than none */
            line = room;
            n_bytes = sizeof room;
        }
        memcpy(line, tag, (size_t)tag_length);
        vsnprintf(line + tag_length, n_bytes - (size_t)tag_length - 1, format, again);
        dinm_utf8_make_line(line);
        n_bytes = strlen(line);
        line[n_bytes++] = '\n';
        write_line(line, n_bytes);
        if (line != room) {
            free(line);
        }
    }
    va_end(again);
}
