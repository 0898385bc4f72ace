/* Sockets, and where an HTTP response ends. Part of client.pyx. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define LC_DRAIN 250000000LL     /* nanoseconds for what was due before the end, and had no connection until then */
#define LC_GRACE 5000000000LL    /* nanoseconds for what is on its way at the end */
typedef struct sockaddr_storage lc_address;
static inline int64_t lc_now(void)
{ struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
static inline int lc_address_of(lc_address *to, const char *text, int port)
{
    struct sockaddr_in *four = (void *) to; struct sockaddr_in6 *six = (void *) to;
    memset(to, 0, sizeof *to);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) { four->sin_family = AF_INET; four->sin_port = htons(port); }
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
    { six->sin6_family = AF_INET6; six->sin6_port = htons(port); }
    else return -1;
    return 0;
}
static inline socklen_t lc_length(const lc_address *of)
{ return of->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6); }
static inline int lc_open(const lc_address *to, const lc_address *from)
{
    int on = 1, fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (from) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (const void *) from, lc_length(from)) < 0) { close(fd); return -1; }
    }
    if (connect(fd, (const void *) to, lc_length(to)) < 0 && errno != EINPROGRESS) { close(fd); return -1; }
    return fd;
}
static inline int lc_connected(int fd)
{
    int fault = 0; socklen_t size = sizeof fault; struct sockaddr_storage peer; socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size) < 0 || fault) return -1;
    return getpeername(fd, (void *) &peer, &length) == 0;
}
static inline int lc_watch(int epoll, int fd, uint64_t what)
{ struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.u64 = what};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e); }
static inline const uint8_t *lc_field(const uint8_t *octets, const uint8_t *end, const char *name)
{
    size_t size = strlen(name);
    for (; octets + size < end; octets++)
        if (*octets == '\n' && !strncasecmp((const char *) octets + 1, name, size)) {
            for (octets += 1 + size; *octets == ' '; octets++) {}
            return octets;
        }
    return NULL;
}
enum { LC_MORE = 0, LC_NOT_HTTP = -1, LC_CHUNKED = -2, LC_TO_THE_END = -3 };
/* How long the response is that begins here, or one of the above; `status`, and whether it is the connection's last. */
static inline int64_t lc_size(const uint8_t *octets, size_t size, int *status, int *is_last)
{
    const uint8_t *end = memmem(octets, size, "\r\n\r\n", 4), *at;
    int64_t length = 0;
    if (size >= 7 && memcmp(octets, "HTTP/1.", 7)) return LC_NOT_HTTP;
    if (!end) return size > 8192 ? LC_NOT_HTTP : LC_MORE;
    if (end - octets < 12) return LC_NOT_HTTP;
    *status = (octets[9] - '0') * 100 + (octets[10] - '0') * 10 + octets[11] - '0';
    if (*status < 100 || *status > 599) return LC_NOT_HTTP;
    at = lc_field(octets, end, "connection:");
    *is_last = at ? !strncasecmp((const char *) at, "close", 5) : octets[7] == '0';
    end += 4;
    if (*status < 200 || *status == 204 || *status == 304) return end - octets;
    at = lc_field(octets, end, "transfer-encoding:");
    if (at && !strncasecmp((const char *) at, "chunked", 7)) return LC_CHUNKED;
    at = lc_field(octets, end, "content-length:");
    if (!at) { *is_last = 1; return LC_TO_THE_END; }
    for (; *at >= '0' && *at <= '9' && length < 1LL << 40; at++) length = 10 * length + *at - '0';
    return end - octets + length;
}
/* The status in an OCSPResponse that is nothing else (RFC 6960 §4.2.1), 0 for any other body. */
static inline int lc_ocsp_error(const uint8_t *octets, size_t size, size_t room)
{
    return size < 9 || size > room || memcmp(octets + size - 9, "\r\n\r\n\x30\x03\x0a\x01", 8) ? 0 : octets[size - 1];
}
/* Whether a chunked response is whole. */
static inline int lc_chunks_end(const uint8_t *octets, size_t size)
{
    const uint8_t *at = (const uint8_t *) memmem(octets, size, "\r\n\r\n", 4) + 4, *end = octets + size, *line;
    while (at < end && (line = memmem(at, end - at, "\r\n", 2))) {
        uint64_t length = strtoull((const char *) at, NULL, 16);
        if (length == 0) return end - line >= 4;
        if (length > 1 << 30) return 0;
        at = line + 2 + length + 2;
    }
    return 0;
}
static inline SSL *lc_tls(SSL_CTX *context, int fd, const char *name)
{
    SSL *tls = SSL_new(context);
    if (!tls) return NULL;
    if (SSL_set_fd(tls, fd) == 1 && (!*name || SSL_set_tlsext_host_name(tls, name) == 1)) return tls;
    SSL_free(tls);
    return NULL;
}
enum { LC_AGAIN = -1, LC_ENDED = 0 };
static inline int lc_tls_said(SSL *tls, int done)
{
    if (done > 0) return done;
    switch (SSL_get_error(tls, done)) { case SSL_ERROR_WANT_READ: case SSL_ERROR_WANT_WRITE: return LC_AGAIN; }
    return LC_ENDED;
}
/* 1, LC_AGAIN while the handshake goes on, LC_ENDED when it has failed. */
static inline int lc_shake_hands(SSL *tls)
{ ERR_clear_error(); return lc_tls_said(tls, SSL_connect(tls)); }
/* How much was read, LC_AGAIN where nothing is there, LC_ENDED where nothing will be. */
static inline ssize_t lc_read(SSL *tls, int fd, uint8_t *into, size_t room)
{
    ssize_t got;
    if (tls) { ERR_clear_error(); return lc_tls_said(tls, SSL_read(tls, into, (int) room)); }
    do got = recv(fd, into, room, 0); while (got < 0 && errno == EINTR);
    return got >= 0 ? got : errno == EAGAIN ? LC_AGAIN : LC_ENDED;
}
static inline ssize_t lc_write(SSL *tls, int fd, const uint8_t *octets, size_t size)
{
    if (tls) { ERR_clear_error(); return SSL_write(tls, octets, (int) size); }
    return send(fd, octets, size, MSG_NOSIGNAL);
}
