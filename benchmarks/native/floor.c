/* The floor: the least work that turns a folder of JPEGs into pictures on disk.
 *
 * usage: floor make PORT PHOTOS OUT N CONCURRENCY
 *        floor load PORT CALLS BODY_BYTES CONCURRENCY
 * make: reads PHOTOS/(name).jpg (no folders below), prepares each once, posts it N times and writes
 * OUT/(name)_(n).png. It keeps no promise: no fsync, no manifest, no retry, no check of the answer.
 * load: posts bodies of zeros and drops the answers unread, to find the server's own ceiling.
 * Exit 0 only if every call was answered with 200 and, in make, its picture written.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base64.h"
#ifdef HAVE_JPEG
#include "shrink.h"
#endif

enum { HEAD_BYTES = 4096, MOST_THREADS = 1000 };

struct photo {
    char *stem;
    pthread_mutex_t preparing;
    char *body;           /* made by the first of its N calls, freed by the last */
    size_t body_size;
    atomic_long left;
};

static struct photo *photos;
static long calls, per_photo, body_bytes;
static atomic_long next_call, failures;
static int port, loading;
static const char *from, *to;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint8_t *slurp(const char *path, size_t *size) {
    struct stat facts;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &facts)) die(path);
    uint8_t *data = malloc((size_t)facts.st_size + 1);
    if (read(fd, data, (size_t)facts.st_size) != facts.st_size) die(path);
    close(fd);
    *size = (size_t)facts.st_size;
    return data;
}

static void prepare(struct photo *p) {
    char path[4096];
    size_t size;
    unsigned char *small = NULL;
    snprintf(path, sizeof path, "%s/%s.jpg", from, p->stem);
    uint8_t *raw = slurp(path, &size);
    const uint8_t *picture = raw;
#ifdef HAVE_JPEG
    picture = shrink(raw, &size, &small);
#endif
    p->body = malloc(size / 3 * 4 + 64);
    char *at = stpcpy(p->body, "{\"image_file\":\"");
    at += base64_encode(picture, size, at);
    at = stpcpy(at, "\"}");
    p->body_size = (size_t)(at - p->body);
    free(small);
    free(raw);
}

static int reach(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

static int send_all(int fd, struct iovec *parts, int count) {
    while (count) {
        ssize_t n = writev(fd, parts, count);
        if (n <= 0) return 0;
        while (count && (size_t)n >= parts->iov_len) n -= (ssize_t)parts++->iov_len, count--;
        if (count) parts->iov_base = (char *)parts->iov_base + n, parts->iov_len -= (size_t)n;
    }
    return 1;
}

/* Post once. Returns the answer's body size, or 0; *answer grows as it must. */
static size_t post(int fd, const char *body, size_t size, char **answer, size_t *room) {
    char head[HEAD_BYTES + 1];
    int length = snprintf(head, sizeof head, "POST /v3/reimagine HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Authorization: Bearer test\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", size);
    struct iovec parts[2] = {{head, (size_t)length}, {(void *)body, size}};
    if (!send_all(fd, parts, 2)) return 0;
    size_t held = 0;
    char *stop = NULL;
    while (!stop) {
        ssize_t n = recv(fd, head + held, HEAD_BYTES - held, 0);
        if (n <= 0) return 0;
        held += (size_t)n;
        head[held] = 0;
        stop = strstr(head, "\r\n\r\n");
    }
    stop += 4;
    const char *told = strcasestr(head, "\r\nContent-Length:");
    size_t whole = told ? strtoull(told + 17, NULL, 10) : 0;
    size_t got = held - (size_t)(stop - head);
    if (strncmp(head, "HTTP/1.1 200", 12) || !whole) return 0;
    if (loading) { /* dropped in the kernel; source: Linux tcp(7), MSG_TRUNC */
        while (got < whole) {
            ssize_t n = recv(fd, NULL, whole - got, MSG_TRUNC);
            if (n <= 0) return 0;
            got += (size_t)n;
        }
        return whole;
    }
    if (*room < whole + 64 && !(*answer = realloc(*answer, *room = whole + 64))) die("realloc");
    memcpy(*answer, stop, got);
    while (got < whole) {
        ssize_t n = recv(fd, *answer + got, whole - got, 0);
        if (n <= 0) return 0;
        got += (size_t)n;
    }
    return whole;
}

static int keep(const struct photo *p, long number, const char *answer, size_t size, uint8_t *picture) {
    static const char name[] = "\"image_file\"";
    const char *at = memmem(answer, size, name, sizeof name - 1);
    at = at ? memchr(at + sizeof name - 1, '"', size - (size_t)(at + sizeof name - 1 - answer)) : NULL;
    const char *stop = at ? memchr(at + 1, '"', size - (size_t)(at + 1 - answer)) : NULL;
    if (!stop) return 0;
    ssize_t length = (ssize_t)base64_decode(at + 1, (size_t)(stop - at - 1), picture);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s_%ld.png", to, p->stem, number);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return 0;
    ssize_t written = write(fd, picture, (size_t)length);
    return close(fd) == 0 && written == length;
}

static void *work(void *unused) {
    (void)unused;
    int fd = reach();
    char *answer = NULL, *zeros = loading ? calloc(1, (size_t)body_bytes) : NULL;
    uint8_t *picture = NULL;
    size_t room = 0, had = 0;
    for (long call; (call = atomic_fetch_add(&next_call, 1)) < calls;) {
        if (loading) {
            if (!post(fd, zeros, (size_t)body_bytes, &answer, &room)) atomic_fetch_add(&failures, 1);
            continue;
        }
        struct photo *p = &photos[call / per_photo];
        pthread_mutex_lock(&p->preparing);
        if (!p->body) prepare(p);
        pthread_mutex_unlock(&p->preparing);
        size_t size = post(fd, p->body, p->body_size, &answer, &room);
        if (room > had && !(picture = realloc(picture, had = room))) die("realloc");
        if (!size || !keep(p, call % per_photo + 1, answer, size, picture)) atomic_fetch_add(&failures, 1);
        if (atomic_fetch_sub(&p->left, 1) == 1) free(p->body);
    }
    close(fd);
    free(answer);
    free(picture);
    free(zeros);
    return NULL;
}

static int is_jpeg(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 4 && !strcmp(entry->d_name + length - 4, ".jpg");
}

static void list_photos(void) {
    struct dirent **found;
    int count = scandir(from, &found, is_jpeg, alphasort);
    if (count < 0) die(from);
    photos = calloc((size_t)count + 1, sizeof *photos);
    for (int i = 0; i < count; i++) {
        photos[i].stem = strndup(found[i]->d_name, strlen(found[i]->d_name) - 4);
        photos[i].left = per_photo;
        pthread_mutex_init(&photos[i].preparing, NULL);
    }
    calls = count * per_photo;
}

int main(int argc, char **argv) {
    loading = argc == 6 && !strcmp(argv[1], "load");
    if (!loading && (argc != 7 || strcmp(argv[1], "make")))
        return fputs("usage: floor make PORT PHOTOS OUT N CONCURRENCY\n"
                     "       floor load PORT CALLS BODY_BYTES CONCURRENCY\n", stderr), 2;
    long threads = atol(argv[argc - 1]);
    if (threads < 1 || threads > MOST_THREADS) return fputs("CONCURRENCY: 1 to 1000\n", stderr), 2;
    port = atoi(argv[2]);
    base64_init();
    if (loading) {
        calls = atol(argv[3]);
        body_bytes = atol(argv[4]);
    } else {
        from = argv[3], to = argv[4], per_photo = atol(argv[5]);
        list_photos();
    }
    pthread_t worker[MOST_THREADS];
    for (long i = 0; i < threads; i++)
        if (pthread_create(&worker[i], NULL, work, NULL)) die("pthread_create");
    for (long i = 0; i < threads; i++) pthread_join(worker[i], NULL);
    if (failures) fprintf(stderr, "%ld of %ld calls failed\n", (long)failures, calls);
    return failures ? 1 : 0;
}
