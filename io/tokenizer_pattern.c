/* Patterns of tokenizer.json. They are written for Oniguruma (Ruby syntax, Unicode classes); here
 * PCRE2 runs them. What the two read differently is rewritten if it can be, else refused:
 *   \s \w \h \v \b, properties of scripts, \uHHHH, {,n}: rewritten;
 *   classes within classes, &&, {n,m}+, {n}?, (?m), back references and the rest: refused. */
#include "io/tokenizer_internal.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define SPACE "\\p{White_Space}"
#define LETTERS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
/* Oniguruma's \w holds the numbers of Latin-1 (superscripts, fractions), and no others, besides. */
#define WORD LETTERS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX "0-9A-Fa-f"

/* What an escape becomes outside and inside of a class; NULL: refused there. */
struct escape {
    char letter;
    const char *outside, *inside;
};
static const struct escape escapes[] = {
    {'s', SPACE, SPACE},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'h', "[" HEX "]", HEX},
    {'H', "[^" HEX "]", NULL},
    {'b', "(?:(?<![" WORD "])(?=[" WORD "])|(?<=[" WORD "])(?![" WORD "]))", NULL},
    {'B', "(?:(?<![" WORD "])(?![" WORD "])|(?<=[" WORD "])(?=[" WORD "]))", NULL},
    {'v', "\\x0b", "\\x0b"},
    {'n', "\\n", "\\n"},
    {'r', "\\r", "\\r"},
    {'t', "\\t", "\\t"},
    {'f', "\\f", "\\f"},
    {'a', "\\a", "\\a"},
    {'e', "\\e", "\\e"},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
    {'Z', "\\Z", NULL},
};

/* A pattern being rewritten. */
struct rewrite {
    const char *where, *source; /* borrows */
    const char *at;             /* the next byte of source */
    bool in_class;
    struct dinm_buffer out; /* owns */
};

static int refuse(const struct rewrite *r, const char *what, struct dinm_error *err)
{
    return dinm_fail(err, DINM_FAILED, "%s: the pattern \"%.200s\" has %s, which is not supported",
                     r->where, r->source, what);
}

static int copy(struct rewrite *r, size_t n_bytes, struct dinm_error *err)
{
    const char *from = r->at;

    r->at += n_bytes;
    return dinm_buffer_append(&r->out, from, n_bytes, err);
}

static pcre2_code *compile(const char *pattern, size_t n_bytes, int *error, size_t *offset)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_code *code = NULL;

    *error = PCRE2_ERROR_NOMEMORY;
    *offset = 0;
    if (context != NULL) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        code = pcre2_compile((PCRE2_SPTR)pattern, n_bytes,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             error, offset, context);
    }
    pcre2_compile_context_free(context);
    return code;
}

/* \p{Name}: for PCRE2 a script is by default every character used in it, for Oniguruma every
 * character that belongs to it, which PCRE2 spells sc:Name. Shorter names are categories. */
static int rewrite_property(struct rewrite *r, struct dinm_error *err)
{
    const char *end = r->at[2] == '{' ? strchr(r->at, '}') : NULL;
    const bool negative = end != NULL && r->at[3] == '^';
    const char *name = r->at + 3 + negative;
    struct dinm_buffer test = {0};
    pcre2_code *code = NULL;
    size_t offset;
    int status = DINM_OK;
    int error;

    if (end == NULL || end <= name || end - name > 64) {
        return refuse(r, "a \\p without a name in braces", err);
    }
    TRY(dinm_buffer_append_format(&test, err, "\\p{sc:%.*s}", (int)(end - name), name));
    code = end - name > 2 ? compile(test.data, test.n_bytes, &error, &offset) : NULL;
    TRY(dinm_buffer_append_format(&r->out, err, "\\%c{%s%s%.*s}", r->at[1], negative ? "^" : "",
                                  code != NULL ? "sc:" : "", (int)(end - name), name));
    r->at = end + 1;
out:
    pcre2_code_free(code);
    dinm_buffer_free(&test);
    return status;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static int rewrite_escape(struct rewrite *r, struct dinm_error *err)
{
    const char letter = r->at[1];
    const char shown[] = {'\\', letter, '\0'};

    if (letter == 'p' || letter == 'P') {
        return rewrite_property(r, err);
    }
    if (letter == 'x' && r->at[2] == '{') {
        return copy(r, 3, err);
    }
    if (letter == 'x' && r->at[2] >= '0' && r->at[2] <= '7' && is_hex(r->at[3])) {
        return copy(r, 4, err);
    }
    if (letter == 'u' && is_hex(r->at[2]) && is_hex(r->at[3]) && is_hex(r->at[4]) &&
        is_hex(r->at[5])) {
        const int status = dinm_buffer_append_format(&r->out, err, "\\x{%.4s}", r->at + 2);
        r->at += 6;
        return status;
    }
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        const char *text = r->in_class ? escapes[i].inside : escapes[i].outside;

        if (escapes[i].letter == letter && text != NULL) {
            r->at += 2;
            return dinm_buffer_append_text(&r->out, text, err);
        }
    }
    if (letter == '\0' || (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') ||
        (letter >= 'a' && letter <= 'z')) {
        return refuse(r, r->in_class ? "an unusual escape in a class" : shown, err);
    }
    return copy(r, (unsigned char)letter < 0x80 ? 2 : 1, err);
}

/* ( and what may follow it. */
static int rewrite_group(struct rewrite *r, struct dinm_error *err)
{
    static const char *const known[] = {"(?:",  "(?=",  "(?!",  "(?>",
                                        "(?<=", "(?<!", "(?i:", "(?-i:"};
    static const char *const folds[] = {"(?i)", "(?-i)"};
    /* Behind an alternative, Oniguruma reads a(?i)b|c as a(?i:b|c). */
    const bool folds_all = r->at == r->source || strchr(r->source, '|') == NULL;

    if (r->at[1] != '?' && r->at[1] != '*') {
        return copy(r, 1, err);
    }
    for (size_t i = 0; folds_all && i < 2; i++) {
        if (strncmp(r->at, folds[i], strlen(folds[i])) == 0) {
            return copy(r, strlen(folds[i]), err);
        }
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(r->at, known[i], strlen(known[i])) == 0) {
            return copy(r, strlen(known[i]), err);
        }
    }
    return refuse(r, "a group of an unusual kind", err);
}

/* { as a quantifier, or as itself. */
static int rewrite_interval(struct rewrite *r, struct dinm_error *err)
{
    const size_t low = strspn(r->at + 1, "0123456789");
    const bool comma = r->at[1 + low] == ',';
    const size_t high = comma ? strspn(r->at + 2 + low, "0123456789") : 0;
    const size_t length = 2 + low + comma + high;
    const char after = r->at[length - 1] == '}' ? r->at[length] : '\0';
    int status = DINM_OK;

    if (r->at[length - 1] != '}' || low + high == 0) {
        TRY(dinm_buffer_append_text(&r->out, "\\{", err));
        r->at++;
        return DINM_OK;
    }
    if (after == '+' || (after == '?' && !comma)) {
        return refuse(r, after == '+' ? "a {n,m}+" : "a {n}?", err);
    }
    TRY(copy(r, 1, err));
    if (low == 0) {
        TRY(dinm_buffer_append_text(&r->out, "0", err));
    }
    TRY(copy(r, length - 1, err));
out:
    return status;
}

/* [:name:] in a class; *found is false if there is none that is known. */
static int rewrite_posix(struct rewrite *r, bool *found, struct dinm_error *err)
{
    static const struct {
        const char *name, *text;
    } classes[] = {{"[:alpha:]", "\\p{Alphabetic}"},
                   {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
                   {"[:digit:]", "\\p{Nd}"},
                   {"[:punct:]", "\\p{P}\\p{S}"},
                   {"[:space:]", SPACE},
                   {"[:word:]", LETTERS},
                   {"[:xdigit:]", HEX}};

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        const size_t n = strlen(classes[i].name);

        *found = strncmp(r->at, classes[i].name, n) == 0;
        if (*found) {
            r->at += n;
            return dinm_buffer_append_text(&r->out, classes[i].text, err);
        }
    }
    return DINM_OK;
}

static int rewrite_class(struct rewrite *r, struct dinm_error *err)
{
    int status = DINM_OK;
    bool posix;

    TRY(copy(r, r->at[1] == '^' ? 2 : 1, err));
    if (*r->at == ']') {
        return refuse(r, "a class that begins with ]", err);
    }
    r->in_class = true;
    while (*r->at != ']') {
        if (*r->at == '\0') {
            return refuse(r, "a class without end", err);
        }
        TRY(rewrite_posix(r, &posix, err));
        if (posix) {
            continue;
        }
        if (*r->at == '[' || strncmp(r->at, "&&", 2) == 0) {
            return refuse(r, "a class within a class, or &&", err);
        }
        TRY(*r->at == '\\' ? rewrite_escape(r, err) : copy(r, 1, err));
    }
    r->in_class = false;
    TRY(copy(r, 1, err));
out:
    return status;
}

static int rewrite(struct rewrite *r, struct dinm_error *err)
{
    int status = DINM_OK;

    while (*r->at != '\0') {
        switch (*r->at) {
        case '\\':
            TRY(rewrite_escape(r, err));
            break;
        case '[':
            TRY(rewrite_class(r, err));
            break;
        case '(':
            TRY(rewrite_group(r, err));
            break;
        case '{':
            TRY(rewrite_interval(r, err));
            break;
        default:
            TRY(copy(r, 1, err));
        }
    }
out:
    return status;
}

int dinm_tokenizer_pattern_literal(struct dinm_pattern *p, const char *where, const char *source,
                                   struct dinm_error *err)
{
    if (source[0] == '\0') {
        return dinm_fail(err, DINM_FAILED, "%s: an empty pattern is not supported", where);
    }
    p->source = dinm_copy_text(source, strlen(source), err);
    p->n_source = strlen(source);
    return p->source == NULL ? DINM_FAILED : DINM_OK;
}

int dinm_tokenizer_pattern_compile(struct dinm_pattern *p, const char *where, const char *source,
                                   struct dinm_error *err)
{
    struct rewrite r = {.where = where, .source = source, .at = source};
    PCRE2_UCHAR message[256] = {0};
    size_t offset;
    int status = DINM_OK;
    int error;

    TRY(dinm_tokenizer_pattern_literal(p, where, source, err));
    TRY(rewrite(&r, err));
    p->code = compile(r.out.data, r.out.n_bytes, &error, &offset);
    if (p->code == NULL) {
        pcre2_get_error_message(error, message, sizeof message);
        status = dinm_fail(err, DINM_FAILED, "%s: the pattern \"%.200s\" is not understood: %s",
                           where, source, (const char *)message);
        goto out;
    }
    /* Where there is no just-in-time compiler, the interpreter gives the same matches. */
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
out:
    dinm_buffer_free(&r.out);
    return status;
}

int dinm_tokenizer_pattern_read(struct dinm_pattern *p, struct dinm_json j, struct dinm_error *err)
{
    const cJSON *pattern = dinm_json_find(j.object, "pattern");
    const cJSON *text = dinm_json_find(pattern, "String");
    const cJSON *regex = dinm_json_find(pattern, "Regex");

    if (cJSON_IsString(text) && regex == NULL) {
        return dinm_tokenizer_pattern_literal(p, j.where, text->valuestring, err);
    }
    if (cJSON_IsString(regex) && text == NULL) {
        return dinm_tokenizer_pattern_compile(p, j.where, regex->valuestring, err);
    }
    return dinm_fail(err, DINM_FAILED,
                     "%s: pattern: expected {\"String\": text} or {\"Regex\": "
                     "text}",
                     j.where);
}

void dinm_tokenizer_pattern_free(struct dinm_pattern *p)
{
    pcre2_code_free(p->code);
    free(p->source);
    *p = (struct dinm_pattern){0};
}
