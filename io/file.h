/* Whole files: read, map, and write so that the final name only ever holds a complete file. */
#ifndef DINM_IO_FILE_H
#define DINM_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/mem.h"
#include "io/status.h"

/* Appends the file's bytes to b. Errors name the path. */
int dinm_file_read(const char *path, struct dinm_buffer *b, struct dinm_error *err);

/* Appends the n_bytes bytes from `offset` on; fewer in the file are an error. */
int dinm_file_read_part(const char *path, size_t offset, size_t n_bytes, struct dinm_buffer *b,
                        struct dinm_error *err);

/* Writes to a temporary name beside `path`, fsyncs, renames, fsyncs the folder. On failure the
 * temporary file is removed and an earlier file of that name is untouched (unless only the last
 * step, the folder's fsync, failed). */
int dinm_file_write(const char *path, const void *bytes, size_t n_bytes, struct dinm_error *err);

/* The same in pieces: open, append as often as needed, commit. Closing without a commit removes
 * the temporary file and leaves `path` as it was. */
struct dinm_writer {
    char *path;      /* owns; NULL when closed */
    char *temporary; /* owns */
    int fd;          /* owns while path is set */
};
int dinm_writer_open(struct dinm_writer *w, const char *path, struct dinm_error *err);
int dinm_writer_append(struct dinm_writer *w, const void *bytes, size_t n_bytes,
                       struct dinm_error *err);
int dinm_writer_commit(struct dinm_writer *w, struct dinm_error *err);
void dinm_writer_close(struct dinm_writer *w);

/* Removes what writers of killed processes left in the folder (NAME.NUMBER-NUMBER.tmp). Nobody may
 * be writing there. A folder that is not there has none. */
int dinm_folder_clear_temporaries(const char *folder, struct dinm_error *err);

/* A read-only mapping of a regular file. While it is open the file must not be made shorter:
 * reading where it ended before raises SIGBUS. */
struct dinm_map {
    const unsigned char *data; /* owns; NULL for an empty file */
    size_t n_bytes;
};
int dinm_map_open(struct dinm_map *map, const char *path, struct dinm_error *err);
/* Fails if the file is no longer as long as it was when it was mapped. */
int dinm_map_check(const struct dinm_map *map, const char *path, struct dinm_error *err);
void dinm_map_close(struct dinm_map *map);

bool dinm_path_exists(const char *path);
bool dinm_path_is_folder(const char *path);
/* Makes the folder and its missing parents; an existing folder is fine. */
int dinm_folder_make(const char *path, struct dinm_error *err);
/* "folder/name", allocated; NULL and *err on failure. */
char *dinm_path_join(const char *folder, const char *name, struct dinm_error *err);

/* XXH64 of a file's bytes (all of them; what `xxhsum` prints), for digests in results and resume
 * checks. */
int dinm_file_digest(const char *path, uint64_t *digest, struct dinm_error *err);
uint64_t dinm_digest(const void *bytes, size_t n_bytes, uint64_t seed);

#endif
