/* What the unit tests share: cmocka with its headers, and a folder that goes away. */
#ifndef DINM_TESTS_SUPPORT_H
#define DINM_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>
#include "io/file.h"
#include "io/mem.h"
#include "io/status.h"

/* Fails the test with the error's own sentence. */
static inline void assert_ok(int status, const struct dinm_error *err)
{
    if (status != DINM_OK) {
        fail_msg("unexpected failure (%d): %s", status, err->text);
    }
}

/* The call failed with `wanted`, and its sentence contains `part`. */
static inline void assert_failed(int status, int wanted, const struct dinm_error *err,
                                 const char *part)
{
    if (status != wanted || err->status != wanted || strstr(err->text, part) == NULL) {
        fail_msg("expected status %d and a sentence with \"%s\", found %d (%d): %s", wanted, part,
                 status, err->status, err->text);
    }
}

/* A new empty folder; free its name after remove_folder. */
static inline char *new_folder(void)
{
    struct dinm_buffer path = {0};
    const char *base = getenv("TMPDIR");

    assert_int_equal(
        dinm_buffer_append_format(&path, NULL, "%s/dinm-test-XXXXXX", base != NULL ? base : "/tmp"),
        DINM_OK);
    assert_non_null(mkdtemp(path.data));
    return path.data;
}

/* Number of names in a folder; a plain file or nothing counts as -1. */
static inline int count_names(const char *folder)
{
    DIR *dir = opendir(folder);
    int n = -2; /* for . and .. */

    if (dir == NULL) {
        return -1;
    }
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

/* Removes a folder of files and folders and frees its name. */
static inline void remove_folder(char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char *path;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        path = dinm_path_join(folder, entry->d_name, NULL);
        assert_non_null(path);
        if (dinm_path_is_folder(path)) {
            remove_folder(path);
        } else {
            unlink(path);
            free(path);
        }
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
    free(folder);
}

/* folder/name holding that text; free the path. */
static inline char *write_text(const char *folder, const char *name, const char *text)
{
    struct dinm_error err = {0};
    char *path = dinm_path_join(folder, name, &err);

    assert_non_null(path);
    assert_ok(dinm_file_write(path, text, strlen(text), &err), &err);
    return path;
}

#endif
