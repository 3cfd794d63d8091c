/* A server that is never the bottleneck: every POST gets the same answer, made once.
 *
 * usage: server ANSWER_FILE LATENCY_S
 * Prints its port on 127.0.0.1, then obeys lines on stdin: "stats" prints one line of JSON,
 * "reset" sets the counts to zero (and says "ok"). It ends when stdin does, so that it
 * cannot outlive whoever started it.
 *
 * One thread, edge-triggered epoll. The answer (header and body) lies in a memory file and
 * goes out by sendfile, which copies nothing here; a request's body is read to its last byte
 * and dropped in the kernel (MSG_TRUNC; source: Linux tcp(7)), and only counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 16384, EVENTS = 256, LINE_BYTES = 256 };
enum state { HEAD, BODY, WAIT, SEND };

struct answer { int file; off_t size; };

struct conn {
    int fd;
    enum state state;
    size_t held;          /* bytes in head[] */
    size_t body_left;
    int close_after;
    const struct answer *answer;
    off_t sent;
    double due;           /* WAIT: when to answer, monotonic s */
    struct conn *next;    /* WAIT: the queue; one latency, so first in is first due */
    char head[HEAD_BYTES + 1];
};

static struct { long posts, refused, answered, connections, at_once, most; double bytes, first; } seen;
static struct answer keep_alive, closing, refusal;
static struct conn *first_waiting, *last_waiting;
static double latency_s;
static int epoll;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct answer make_answer(const char *status, const char *connection, const char *body, size_t size) {
    char head[LINE_BYTES];
    int length = snprintf(head, sizeof head,
        "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n",
        status, size, connection);
    struct answer made = {memfd_create("answer", MFD_CLOEXEC), (off_t)size + length};
    if (made.file < 0 || write(made.file, head, (size_t)length) != length) die("memfd");
    for (size_t at = 0; at < size;) {
        ssize_t n = write(made.file, body + at, size - at);
        if (n <= 0) die("memfd");
        at += (size_t)n;
    }
    return made;
}

static void end(struct conn *c) {
    if (c->state == WAIT || c->state == SEND) seen.at_once--;
    close(c->fd); /* the whole body was read, so this sends FIN and not RST */
    free(c);
}

/* The value of a header, or NULL; head is one string with its lines ended by \r\n. */
static const char *header(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (!strncasecmp(line, name, length) && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

/* What a whole head asks for. Returns 0 if the connection is to be dropped. */
static int begin(struct conn *c) {
    const char *size = header(c->head, "Content-Length");
    const char *connection = header(c->head, "Connection");
    const char *expect = header(c->head, "Expect");
    int old = strstr(c->head, " HTTP/1.0\r\n") != NULL;
    c->close_after = connection ? !strncasecmp(connection, "close", 5)
                                : old;
    c->body_left = size ? strtoull(size, NULL, 10) : 0;
    c->answer = c->close_after ? &closing : &keep_alive;
    c->sent = 0;
    if (strncmp(c->head, "POST ", 5) || !size) {
        c->answer = &refusal;
        c->close_after = 1;
        seen.refused++;
    } else {
        if (!seen.posts++) seen.first = now_s();
        seen.bytes += (double)c->body_left;
    }
    if (expect && !strncasecmp(expect, "100-continue", 12)) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (write(c->fd, go_on, sizeof go_on - 1) != sizeof go_on - 1) return 0;
    }
    return 1;
}

/* Drive a connection until the kernel has no more for it, or it ends. */
static void drive(struct conn *c) {
    for (;;) {
        ssize_t n;
        if (c->state == HEAD) {
            c->head[c->held] = 0;
            char *stop = strstr(c->head, "\r\n\r\n");
            if (!stop) {
                n = c->held < HEAD_BYTES ? recv(c->fd, c->head + c->held, HEAD_BYTES - c->held, 0) : 0;
                if (n < 0 && errno == EAGAIN) return;
                if (n <= 0) return end(c);
                c->held += (size_t)n;
                continue;
            }
            stop += 4;
            char byte = *stop;
            *stop = 0;
            if (!begin(c)) return end(c);
            *stop = byte;
            size_t rest = c->held - (size_t)(stop - c->head);
            size_t of_body = rest < c->body_left ? rest : c->body_left;
            c->body_left -= of_body;
            c->held = rest - of_body; /* the next request's beginning, if a client pipelines */
            memmove(c->head, stop + of_body, c->held);
            c->state = BODY;
        } else if (c->state == BODY) {
            while (c->body_left) {
                n = recv(c->fd, NULL, c->body_left, MSG_TRUNC);
                if (n < 0 && errno == EAGAIN) return;
                if (n <= 0) return end(c);
                c->body_left -= (size_t)n;
            }
            if (++seen.at_once > seen.most) seen.most = seen.at_once;
            c->state = SEND;
            if (latency_s > 0) {
                c->state = WAIT;
                c->due = now_s() + latency_s;
                c->next = NULL;
                if (last_waiting) last_waiting->next = c; else first_waiting = c;
                last_waiting = c;
                return;
            }
        } else if (c->state == SEND) {
            while (c->sent < c->answer->size) {
                n = sendfile(c->fd, c->answer->file, &c->sent, (size_t)(c->answer->size - c->sent));
                if (n < 0 && errno == EAGAIN) return;
                if (n <= 0) return end(c);
            }
            seen.answered += c->answer != &refusal;
            if (c->close_after) return end(c);
            seen.at_once--;
            c->state = HEAD;
        } else {
            return;
        }
    }
}

static void obey(const char *line) {
    if (!strncmp(line, "reset", 5)) {
        long at_once = seen.at_once;
        memset(&seen, 0, sizeof seen);
        seen.at_once = seen.most = at_once;
        puts("ok");
    } else {
        struct rusage used;
        getrusage(RUSAGE_SELF, &used);
        double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
                   + 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
        printf("{\"posts\": %ld, \"refused\": %ld, \"answered\": %ld, \"bytes\": %.0f,"
               " \"connections\": %ld, \"most_at_once\": %ld, \"first\": %.6f, \"cpu_s\": %.6f}\n",
               seen.posts, seen.refused, seen.answered, seen.bytes, seen.connections, seen.most,
               seen.first, cpu);
    }
    fflush(stdout);
}

static void take(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct conn *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        c->fd = fd;
        seen.connections++;
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
    }
}

static void answer_what_is_due(void) {
    while (first_waiting && first_waiting->due <= now_s()) {
        struct conn *c = first_waiting;
        first_waiting = c->next;
        if (!first_waiting) last_waiting = NULL;
        c->state = SEND;
        drive(c);
    }
}

static char *slurp(const char *path, size_t *size) {
    int fd = open(path, O_RDONLY);
    off_t length = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    char *data = length < 0 ? NULL : malloc((size_t)length + 1);
    if (!data || pread(fd, data, (size_t)length, 0) != length) die(path);
    *size = (size_t)length;
    return data;
}

int main(int argc, char **argv) {
    if (argc != 3) return fputs("usage: server ANSWER_FILE LATENCY_S\n", stderr), 2;
    size_t size;
    char *body = slurp(argv[1], &size);
    latency_s = atof(argv[2]);
    keep_alive = make_answer("200 OK", "keep-alive", body, size);
    closing = make_answer("200 OK", "close", body, size);
    refusal = make_answer("404 Not Found", "close", "{}", 2);
    signal(SIGPIPE, SIG_IGN);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)
        || getsockname(listener, (struct sockaddr *)&address, &length)) die("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    static int of_listener, of_stdin; /* only their addresses count: they tell events apart */
    struct epoll_event listening = {EPOLLIN, {.ptr = &of_listener}};
    struct epoll_event orders = {EPOLLIN, {.ptr = &of_stdin}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening)
        || epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &orders)) die("epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    for (;;) {
        int wait_ms = -1;
        if (first_waiting) {
            double left = first_waiting->due - now_s();
            wait_ms = left > 0 ? (int)(left * 1000) + 1 : 0;
        }
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, wait_ms);
        for (int i = 0; i < count; i++) {
            void *whose = events[i].data.ptr;
            if (whose == &of_listener) take(listener);
            else if (whose == &of_stdin) {
                char line[LINE_BYTES];
                ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
                if (n <= 0) return 0;
                line[n] = 0;
                obey(line);
            } else drive(whose);
        }
        answer_what_is_due();
    }
}
