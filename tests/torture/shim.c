/* What a process does to the files below one folder: written down, killed or made to fail.
 *
 * Preloaded into the tool (LD_PRELOAD). Settings come from the environment, and are read at the
 * first call that finds TORTURE_UNDER set, so that a forked child may bring its own:
 *
 *   TORTURE_UNDER  the folder
 *   TORTURE_LOG    a line for every call's begin (B) and end (E), for a fault (F) and a kill (K)
 *   TORTURE_OPS    which calls count, as ",write,fsync,"; all when it is empty
 *   TORTURE_AT     number of the call that is hit, from 1; 0 hits none
 *   TORTURE_HOW    kill: before the call; torn: after it, a write is half done;
 *                  fail: this call fails once; stay: it and all that follow fail, a write first
 *                  ends half way (as on a full disk)
 *   TORTURE_ERRNO  what a failing call reports
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))
#define MOST_DATA (1 << 20)

enum choice { GO, FAIL, HALF, TORN };

static char under[PATH_MAX], ops[256], how[16];
static size_t under_length;
static long at;
static int fault, handle = -1;
static atomic_long counted;
static atomic_int ready;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

static const char *given(const char *name) {
    const char *value = getenv(name);
    return value == NULL ? "" : value;
}

static void set_up(void) {
    snprintf(under, sizeof under, "%s", given("TORTURE_UNDER"));
    snprintf(ops, sizeof ops, "%s", given("TORTURE_OPS"));
    snprintf(how, sizeof how, "%s", given("TORTURE_HOW"));
    under_length = strlen(under);
    at = atol(given("TORTURE_AT"));
    fault = atoi(given("TORTURE_ERRNO"));
    handle = (int)syscall(SYS_openat, AT_FDCWD, given("TORTURE_LOG"),
                          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (handle < 0) abort();
    ready = 1;
}

static int watching(void) {
    if (!ready) {
        if (getenv("TORTURE_UNDER") == NULL) return 0;
        pthread_once(&once, set_up);
    }
    return 1;
}

static int is_below(const char *path) {
    return strncmp(path, under, under_length) == 0 &&
           (path[under_length] == '/' || path[under_length] == '\0');
}

/* The absolute path of a name, or of a handle when there is no name. 0: not below the folder. */
static int locate(char *found, int folder, const char *name) {
    if (!watching()) return 0;
    if (name != NULL && name[0] == '/') {
        snprintf(found, PATH_MAX, "%s", name);
        return is_below(found);
    }
    char link[64];
    if (folder == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, found, PATH_MAX - 1);
    if (length < 0) return 0;
    found[length] = '\0';
    if (name != NULL) snprintf(found + length, PATH_MAX - (size_t)length, "/%s", name);
    return is_below(found);
}

static void note(char phase, const char *op, const char *path, const char *other, long result,
                 const unsigned char *data, size_t size) {
    static const char digits[] = "0123456789abcdef";
    int before = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (size > MOST_DATA) abort();
    char *line = malloc(3 * PATH_MAX + 2 * size);
    if (line == NULL) abort();
    int length = snprintf(line, 3 * PATH_MAX, "%lld.%09ld\t%ld\t%c\t%s\t%s\t%s\t%ld\t",
                          (long long)now.tv_sec, now.tv_nsec, syscall(SYS_gettid), phase, op, path,
                          other, result);
    for (size_t i = 0; i < size; i++) {
        line[length++] = digits[data[i] >> 4];
        line[length++] = digits[data[i] & 15];
    }
    line[length++] = '\n';
    if (syscall(SYS_write, handle, line, length) != length) abort();
    free(line);
    errno = before;
}

static enum choice choose(const char *op, const char *path) {
    char word[32];
    snprintf(word, sizeof word, ",%s,", op);
    if (ops[0] != '\0' && strstr(ops, word) == NULL) return GO;
    long number = ++counted;
    if (at == 0 || number < at) return GO;
    if (strcmp(how, "stay") == 0)
        return number == at && strcmp(op, "write") == 0 ? HALF : FAIL;
    if (number > at) return GO;
    if (strcmp(how, "fail") == 0) return FAIL;
    if (strcmp(how, "torn") == 0) return TORN;
    note('K', op, path, "", number, NULL, 0);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void die(const char *op, const char *path) {
    note('K', op, path, "", at, NULL, 0);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* A call that either happens or does not. */
#define WHOLE(op, path, other, call)                                     \
    do {                                                                 \
        enum choice chosen = choose(op, path);                           \
        note('B', op, path, other, 0, NULL, 0);                          \
        if (chosen == FAIL || chosen == HALF) {                          \
            errno = fault;                                               \
            note('F', op, path, other, -fault, NULL, 0);                 \
            return -1;                                                   \
        }                                                                \
        int result = (call);                                             \
        note('E', op, path, other, result < 0 ? -errno : 0, NULL, 0);    \
        if (chosen == TORN) die(op, path);                               \
        return result;                                                   \
    } while (0)

static const char *kind_of_open(int flags) {
    if (flags & O_DIRECTORY) return "opendir";
    return flags & (O_CREAT | O_TRUNC) ? flags & O_TRUNC ? "open" : "openlog" : NULL;
}

static int any_open(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    const char *op = kind_of_open(flags);
    if (op == NULL || !locate(path, folder, name))
        return REAL(openat64)(folder, name, flags, mode);
    WHOLE(op, path, "", REAL(openat64)(folder, name, flags, mode));
}

#define MODE(flags)                                                   \
    mode_t mode = 0;                                                  \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                          \
        va_list rest;                                                 \
        va_start(rest, flags);                                        \
        mode = va_arg(rest, mode_t);                                  \
        va_end(rest);                                                 \
    }

int open(const char *name, int flags, ...) { MODE(flags) return any_open(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return any_open(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return any_open(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return any_open(folder, name, flags, mode); }

static void note_request(const void *data, size_t size) {
    if (size >= 5 && memcmp(data, "POST ", 5) == 0 && watching())
        note('B', "send", "socket", "", 0, NULL, 0);
}

/* offset -1: at the file's own place */
static ssize_t any_write(int file, const void *data, size_t size, off_t offset) {
    char path[PATH_MAX];
    note_request(data, size);
    if (!locate(path, file, NULL))
        return offset < 0 ? REAL(write)(file, data, size) : REAL(pwrite64)(file, data, size, offset);
    enum choice chosen = choose("write", path);
    note('B', "write", path, "", (long)size, NULL, 0);
    if (chosen == FAIL || (chosen == HALF && size < 2)) {
        errno = fault;
        note('F', "write", path, "", -fault, NULL, 0);
        return -1;
    }
    size_t part = chosen == GO ? size : size / 2;
    ssize_t result = offset < 0 ? REAL(write)(file, data, part) : REAL(pwrite64)(file, data, part, offset);
    note(chosen == HALF ? 'F' : 'E', "write", path, "", result < 0 ? -errno : result, data,
         result < 0 ? 0 : (size_t)result);
    if (chosen == TORN) die("write", path);
    return result;
}

ssize_t write(int file, const void *data, size_t size) { return any_write(file, data, size, -1); }
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { return any_write(file, data, size, offset); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { return any_write(file, data, size, offset); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (count > 0) note_request(parts[0].iov_base, parts[0].iov_len);
    if (!locate(path, file, NULL)) return REAL(writev)(file, parts, count);
    for (int i = 0; i < count; i++) /* a short write is allowed: the first part that holds bytes */
        if (parts[i].iov_len) return any_write(file, parts[i].iov_base, parts[i].iov_len, -1);
    return 0;
}

ssize_t send(int file, const void *data, size_t size, int flags) {
    note_request(data, size);
    return REAL(send)(file, data, size, flags);
}

ssize_t sendto(int file, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t length) {
    note_request(data, size);
    return REAL(sendto)(file, data, size, flags, to, length);
}

ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
    if (message->msg_iovlen > 0)
        note_request(message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
    return REAL(sendmsg)(file, message, flags);
}

int fsync(int file) {
    char path[PATH_MAX];
    if (!locate(path, file, NULL)) return REAL(fsync)(file);
    WHOLE("fsync", path, "", REAL(fsync)(file));
}

int fdatasync(int file) {
    char path[PATH_MAX];
    if (!locate(path, file, NULL)) return REAL(fdatasync)(file);
    WHOLE("fsync", path, "", REAL(fdatasync)(file));
}

static int any_rename(int from, const char *old, int to, const char *new, unsigned flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int within = locate(path, from, old);
    within |= locate(other, to, new);
    if (!within) return (int)syscall(SYS_renameat2, from, old, to, new, flags);
    WHOLE("rename", path, other, (int)syscall(SYS_renameat2, from, old, to, new, flags));
}

int rename(const char *old, const char *new) { return any_rename(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return any_rename(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return any_rename(from, old, to, new, flags); }

static int any_link(int from, const char *old, int to, const char *new, int flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int within = locate(path, from, old);
    within |= locate(other, to, new);
    if (!within) return REAL(linkat)(from, old, to, new, flags);
    WHOLE("link", path, other, (int)syscall(SYS_linkat, from, old, to, new, flags));
}

int link(const char *old, const char *new) { return any_link(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int from, const char *old, int to, const char *new, int flags) { return any_link(from, old, to, new, flags); }

int mkdir(const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!locate(path, AT_FDCWD, name)) return REAL(mkdir)(name, mode);
    WHOLE("mkdir", path, "", REAL(mkdir)(name, mode));
}

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!locate(path, folder, name)) return REAL(mkdirat)(folder, name, mode);
    WHOLE("mkdir", path, "", REAL(mkdirat)(folder, name, mode));
}

int unlink(const char *name) {
    char path[PATH_MAX];
    if (!locate(path, AT_FDCWD, name)) return REAL(unlink)(name);
    WHOLE("unlink", path, "", REAL(unlink)(name));
}

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!locate(path, folder, name)) return REAL(unlinkat)(folder, name, flags);
    WHOLE("unlink", path, "", REAL(unlinkat)(folder, name, flags));
}

int ftruncate(int file, off_t length) {
    char path[PATH_MAX], size[32];
    if (!locate(path, file, NULL)) return REAL(ftruncate)(file, length);
    snprintf(size, sizeof size, "%lld", (long long)length);
    WHOLE("ftruncate", path, size, REAL(ftruncate)(file, length));
}

int ftruncate64(int file, off64_t length) { return ftruncate(file, length); }
