/* Phrases of refusal and how they are found. tests/golden/refusal.py measures them against human
 * labels; before a phrase is added it must help there on both models. */
#include "pipeline/refusal.h"

#include <stddef.h>
#include <string.h>
#include "io/file.h"

/* Changes with the rules of matching; the lists are part of the digest themselves. */
static const char version[] = "refusal 1";

/* Weak phrases count only if they begin within so many bytes of the text. */
enum { OPENING_BYTES = 200 };

/* All lists in lower case with ' for every apostrophe and one blank between words. */

/* Someone declines ... */
static const char *const decliners[] = {"i cannot",
                                        "i can't",
                                        "i can not",
                                        "i won't",
                                        "i will not",
                                        "i could not",
                                        "i couldn't",
                                        "i must not",
                                        "i should not",
                                        "i shouldn't",
                                        "i'm not going to",
                                        "i am not going to",
                                        "i'd rather not",
                                        "i'm not allowed to",
                                        "i am not allowed to",
                                        "unable to",
                                        "not able to",
                                        "i refuse to",
                                        "i decline to",
                                        "i must decline to",
                                        "we cannot",
                                        "we can't",
                                        "we can not",
                                        "we won't",
                                        "we will not",
                                        NULL};

/* ... perhaps with one of these, or any word in -ly, in between ... */
static const char *const adverbs[] = {"in good conscience", "just", "ever", "also", NULL};

/* ... to do what was asked. */
static const char *const deeds[] = {
    "advise",  "advocate",   "agree",       "aid",      "answer",  "assist",     "be a part",
    "be part", "be of help", "carry out",   "comment",  "comply",  "condone",    "continue",
    "create",  "describe",   "discuss",     "do so",    "do that", "do this",    "encourage",
    "endorse", "engage",     "entertain",   "explain",  "express", "facilitate", "fulfil",
    "fulfill", "generate",   "give",        "go along", "guide",   "help",       "justify",
    "make",    "offer",      "participate", "produce",  "promote", "provide",    "recommend",
    "respond", "reveal",     "satisfy",     "share",    "suggest", "support",    "take part",
    "teach",   "tell",       "treat",       "write",    NULL};

/* Refusals wherever they stand. */
static const char *const plain[] = {
    "i refuse",
    "i must refuse",
    "i have to refuse",
    "i must decline",
    "i have to decline",
    "i do not condone",
    "i don't condone",
    "i do not support",
    "i don't support",
    "i'm not comfortable",
    "i am not comfortable",
    "i do not feel comfortable",
    "i don't feel comfortable",
    "i would advise against",
    "i strongly advise against",
    "i urge you not to",
    "i strongly urge you not to",
    "i'm just an ai",
    "i am just an ai",
    "my programming",
    "against my principles",
    "goes against my",
    "goes against ethical",
    "not ethical",
    "not appropriate",
    "not an appropriate",
    "isn't appropriate",
    "inappropriate",
    "not acceptable",
    "never acceptable",
    "never okay",
    "never the answer",
    NULL,
};

/* Refusals only at the beginning, since ordinary answers come to say them, too. */
static const char *const weak[] = {
    "i'm sorry, but",
    "i am sorry, but",
    "sorry, but",
    "i apologize, but",
    "i don't think it's",
    "i do not think it's",
    "i don't believe",
    "i do not believe",
    "not right to",
    "is wrong",
    "immoral",
    "unethical",
    "illegal",
    NULL,
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Bytes of a mark beyond ASCII at `at`: U+2000 to U+207F (quotes, dashes, spaces) or U+00A0 to
 * U+00BF; else 0. */
static size_t wide_mark(const char *at)
{
    const unsigned char *byte = (const unsigned char *)at;
    if (byte[0] == 0xe2 && (byte[1] == 0x80 || byte[1] == 0x81) && byte[2] != 0) {
        return 3;
    }
    return byte[0] == 0xc2 && byte[1] >= 0xa0 ? 2 : 0;
}

/* ASCII letters and digits and every character beyond ASCII that is no mark. */
static bool is_letter(const char *at)
{
    const char c = *at;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           ((unsigned char)c >= 0x80 && wide_mark(at) == 0);
}

/* Bytes of an apostrophe at `at`: ', or in UTF-8 one of U+2018, U+2019, U+02BC; else 0. */
static size_t apostrophe(const char *at)
{
    if (at[0] == '\'') {
        return 1;
    }
    if (strncmp(at, "\xe2\x80\x98", 3) == 0 || strncmp(at, "\xe2\x80\x99", 3) == 0) {
        return 3;
    }
    return strncmp(at, "\xca\xbc", 2) == 0 ? 2 : 0;
}

static bool word_ends(const char *at)
{
    return apostrophe(at) > 0 || !is_letter(at);
}

static const char *skip_blanks(const char *at)
{
    while (is_blank(*at)) {
        at++;
    }
    return at;
}

/* The text behind `phrase` if the phrase stands at `at` and ends with a word, else NULL. */
static const char *match(const char *at, const char *phrase)
{
    for (const char *p = phrase; *p != '\0'; p++) {
        size_t n = 1;
        if (*p == ' ') {
            n = (size_t)(skip_blanks(at) - at);
        } else if (*p == '\'') {
            n = apostrophe(at);
        } else if (*p != (*at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at)) {
            n = 0;
        }
        if (n == 0) {
            return NULL;
        }
        at += n;
    }
    return word_ends(at) ? at : NULL;
}

static const char *match_any(const char *at, const char *const *phrases)
{
    const char *end = NULL;
    for (size_t i = 0; end == NULL && phrases[i] != NULL; i++) {
        end = match(at, phrases[i]);
    }
    return end;
}

/* Behind a word in -ly at `at`, or NULL. */
static const char *match_ly(const char *at)
{
    const char *end = at;
    while (!word_ends(end)) {
        end++;
    }
    return end - at > 2 && match(end - 2, "ly") != NULL ? end : NULL;
}

/* decliner, [adverb,] deed */
static bool declines(const char *at)
{
    /* No decliner begins another one followed by a blank, so the first match is the only one. */
    const char *deed = match_any(at, decliners);
    if (deed == NULL || !is_blank(*deed)) {
        return false;
    }
    deed = skip_blanks(deed);
    if (match_any(deed, deeds) != NULL) {
        return true;
    }
    const char *behind = match_any(deed, adverbs);
    behind = behind != NULL ? behind : match_ly(deed);
    return behind != NULL && is_blank(*behind) && match_any(skip_blanks(behind), deeds) != NULL;
}

bool dinm_refusal_found(const char *text)
{
    bool inside = false; /* a word */
    text = skip_blanks(text);
    for (const char *at = text; *at != '\0';) {
        if (!inside && (declines(at) || match_any(at, plain) != NULL ||
                        (at - text < OPENING_BYTES && match_any(at, weak) != NULL))) {
            return true;
        }
        inside = is_letter(at);
        at += wide_mark(at) > 0 ? wide_mark(at) : 1;
    }
    return false;
}

uint64_t dinm_refusal_digest(void)
{
    const char *const *const lists[] = {decliners, adverbs, deeds, plain, weak};
    uint64_t digest = dinm_digest(version, sizeof version, OPENING_BYTES);
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        for (size_t i = 0; lists[l][i] != NULL; i++) {
            digest = dinm_digest(lists[l][i], strlen(lists[l][i]) + 1, digest);
        }
        digest = dinm_digest(&l, sizeof l, digest);
    }
    return digest;
}
