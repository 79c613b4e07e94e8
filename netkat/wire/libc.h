/* libc.h: what the wire asks of libc, for cffi (build.py makes netkat/wire/_libc.py of it).
 *
 * The structs are those of <sys/socket.h> and <time.h> on 64-bit Linux, where
 * the kernel and every libc lay them out alike.
 */
#include <stddef.h>
#include <stdint.h>

struct iovec {
    void *iov_base;
    size_t iov_len;
};

struct msghdr {
    void *msg_name;
    uint32_t msg_namelen;
    struct iovec *msg_iov;
    size_t msg_iovlen;
    void *msg_control;
    size_t msg_controllen;
    int msg_flags;
};

struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags, void *timeout);
int sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags);

struct timespec {
    long tv_sec;
    long tv_nsec;
};

struct itimerspec {
    struct timespec it_interval;
    struct timespec it_value;
};

int timerfd_create(int clock, int flags);
int timerfd_settime(int fd, int flags, struct itimerspec *fresh, struct itimerspec *old);
