/* /proc, /sys/fs/cgroup (both versions), getrlimit, statvfs. */
#include "pipeline/limits.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include "io/file.h"
#include "io/mem.h"

/* The text of a small file of the system; NULL if there is none. */
static char *load(const char *root, const char *path)
{
    struct dinm_buffer text = {0}, name = {0};
    if (dinm_buffer_append_format(&name, NULL, "%s%s", root, path) < 0 ||
        dinm_file_read(name.data, &text, NULL) < 0) {
        dinm_buffer_free(&text);
    }
    dinm_buffer_free(&name);
    return text.data;
}

/* The number behind `key` at the beginning of a line, times `unit`; `missing` if there is none. */
static double find(const char *text, const char *key, double unit, double missing)
{
    size_t n = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, key, n) == 0) {
            char *end = NULL;
            double value = strtod(line + n, &end);
            return end != line + n ? value * unit : missing;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return missing;
}

static double load_number(const char *root, const char *folder, const char *name, const char *key,
                          double missing)
{
    char *path = dinm_path_join(folder, name, NULL);
    char *text = path != NULL ? load(root, path) : NULL;
    double value = find(text, key, 1.0, missing);
    free(text);
    free(path);
    return value;
}

/* The names of one version of control groups. */
struct version {
    const char *folder, *limit, *used, *inactive, *active;
};
static const struct version versions[] = {
    {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ", "active_file "},
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file ", "total_active_file "},
};

/* What one group has left: its files' pages can go. */
static double left_of(const char *root, const char *folder, const struct version *v)
{
    double most = load_number(root, folder, v->limit, "", HUGE_VAL); /* "max" is no number */
    if (most > 1e18) {
        return HUGE_VAL; /* how version 1 writes "none" */
    }
    double used = load_number(root, folder, v->used, "", 0.0);
    double files = load_number(root, folder, "memory.stat", v->inactive, 0.0) +
                   load_number(root, folder, "memory.stat", v->active, 0.0);
    double left = most - used + (files < used ? files : used);
    return left > 0.0 ? left : 0.0;
}

/* The group at `path` and all above it; in a container the path may be that of the host, and only
 * the top is there. */
static double walk_up(const char *root, const char *path, const struct version *v)
{
    double least = HUGE_VAL;
    struct dinm_buffer folder = {0};
    if (dinm_buffer_append_format(&folder, NULL, "%s%s", v->folder, path) < 0) {
        return HUGE_VAL;
    }
    size_t shortest = strlen(v->folder);
    while (folder.n_bytes >= shortest) {
        double left = left_of(root, folder.data, v);
        least = left < least ? left : least;
        char *slash = strrchr(folder.data, '/');
        folder.n_bytes = (size_t)(slash - folder.data);
        *slash = '\0';
    }
    dinm_buffer_free(&folder);
    return least;
}

/* /proc/self/cgroup has lines "4:memory:/path" (version 1) and "0::/path" (version 2). */
static double read_groups(const char *root)
{
    double least = HUGE_VAL;
    char *text = load(root, "/proc/self/cgroup");
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        char *names = strchr(line, ':');
        char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path != NULL) {
            bool first = path == names + 1, memory = strstr(names, "memory") != NULL;
            double left = first    ? walk_up(root, path + 1, &versions[0])
                          : memory ? walk_up(root, path + 1, &versions[1])
                                   : HUGE_VAL;
            least = left < least ? left : least;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    free(text);
    return least;
}

void dinm_limits_read(struct dinm_limits *limits, const char *root)
{
    struct rlimit space;
    char *memory = load(root, "/proc/meminfo");
    char *status = load(root, "/proc/self/status");
    *limits = (struct dinm_limits){.ram = find(memory, "MemAvailable:", 1024.0, HUGE_VAL),
                                   .cgroup = read_groups(root),
                                   .space = HUGE_VAL};
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
        double left = (double)space.rlim_cur - find(status, "VmSize:", 1024.0, 0.0);
        limits->space = left > 0.0 ? left : 0.0;
    }
    free(memory);
    free(status);
}

double dinm_limits_own_bytes(void)
{
    char *status = load("", "/proc/self/status");
    double bytes = find(status, "RssAnon:", 1024.0, 0.0);
    free(status);
    return bytes;
}

int dinm_limits_disk(double *bytes, const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    struct statvfs disk;
    char *folder = dinm_copy_text(path, strlen(path), err);
    TRY(folder != NULL ? DINM_OK : DINM_FAILED);
    while (folder[0] != '\0' && statvfs(folder, &disk) != 0 && errno == ENOENT) {
        char *slash = strrchr(folder, '/');
        folder[slash == NULL || slash == folder ? 0 : slash - folder] = '\0';
    }
    const char *found = folder[0] != '\0' ? folder : path[0] == '/' ? "/" : ".";
    TRY(statvfs(found, &disk) == 0
            ? DINM_OK
            : dinm_fail_errno(err, errno, "cannot look at the file system of", found));
    *bytes = (double)disk.f_bavail * (double)disk.f_frsize;
out:
    free(folder);
    return status;
}
