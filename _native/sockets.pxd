"""Sockets, an epoll and clocks, as the kernel has them."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/socket.h>
    static inline int cs_watch(int epoll, int fd, uint64_t what, unsigned events)
    { struct epoll_event e = {.events = events, .data.u64 = what}; return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e); }
    static inline int cs_rouse(int epoll, int fd, uint64_t what, unsigned events)
    { struct epoll_event e = {.events = events, .data.u64 = what}; return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e); }
    static inline int cs_leave(int epoll, int fd)
    { struct epoll_event none = {0}; return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &none); }
    /* No more waits in the kernel than is worth while: what a slow reader hasn't taken isn't copied for it. */
    static inline void cs_keep_little(int fd, int octets)
    { setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &octets, sizeof octets); }
    /* The client's address as IPv6, IPv4 mapped into it. */
    static inline int cs_accept(int listener, uint8_t *address)
    {
        union { struct sockaddr any; struct sockaddr_in four; struct sockaddr_in6 six; } peer = {{0}};
        socklen_t size = sizeof peer;
        int one = 1, fd = accept4(listener, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (peer.any.sa_family == AF_INET6) {
            memcpy(address, &peer.six.sin6_addr, 16);
        } else {
            memset(address, 0, 10), memset(address + 10, 0xff, 2);
            memcpy(address + 12, &peer.four.sin_addr, 4);
        }
        return fd;
    }
    #define CS_WATCHED (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
    #define CS_LISTENER UINT64_MAX
    #define CS_QUEUE (UINT64_MAX - 1)
    #define CS_SIGNED (UINT64_MAX - 2)
    static inline int64_t cs_time(clockid_t which)
    { struct timespec t; clock_gettime(which, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
    """
    ctypedef union epoll_data:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    unsigned EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
    int EPOLL_CLOEXEC, MSG_NOSIGNAL, SHUT_WR
    int CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME
    unsigned WATCHED "CS_WATCHED"        # of a connection
    uint64_t LISTENER "CS_LISTENER"      # what is watched is the listening socket, and no connection
    uint64_t QUEUE "CS_QUEUE"            # or an eventfd, which is always readable
    uint64_t SIGNED "CS_SIGNED"          # or one with an event whenever a thread has signed something
    int EFD_CLOEXEC
    int eventfd(unsigned value, int flags)
    int epoll_create1(int flags)
    int epoll_wait(int epoll, epoll_event* events, int count, int timeout)
    int cs_watch(int epoll, int fd, uint64_t what, unsigned events)
    int cs_leave(int epoll, int fd)
    # What is ready already is an event once more.
    int cs_rouse(int epoll, int fd, uint64_t what, unsigned events)
    void cs_keep_little(int fd, int octets)
    int cs_accept(int listener, uint8_t* address)
    int64_t cs_time(int which)
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int shutdown(int fd, int how)
    int close(int fd)
