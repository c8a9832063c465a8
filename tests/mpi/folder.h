/* For MPI tests: a folder of their own under TMPDIR, known to all ranks and removed at the end. */
#ifndef DINM_TESTS_MPI_FOLDER_H
#define DINM_TESTS_MPI_FOLDER_H

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/mpi/expect.h"

enum { FOLDER_ROOM = 512, PATH_ROOM = 1024 };

static void make_folder_all(char folder[FOLDER_ROOM])
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        const char *parent = getenv("TMPDIR");
        snprintf(folder, FOLDER_ROOM, "%s/dinm-test-XXXXXX", parent != NULL ? parent : "/tmp");
        EXPECT(mkdtemp(folder) != NULL);
    }
    MPI_Bcast(folder, FOLDER_ROOM, MPI_BYTE, 0, MPI_COMM_WORLD);
}

/* Removes files and folders within `folder`, and itself. Symbolic links are not followed. */
static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_ROOM];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        int n = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (n < 0 || n >= (int)sizeof path || lstat(path, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            remove_folder(path);
        } else {
            unlink(path);
        }
    }
    closedir(dir);
    rmdir(folder);
}

static void remove_folder_all(const char *folder)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        remove_folder(folder);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

#endif
