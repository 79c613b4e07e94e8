/* gostack.h: the one text of the ABI between gostack (Go, gVisor netstack) and netkat (Python).
 *
 * cgo includes this file; build.py feeds it to cffi (preprocessor lines other
 * than "#define NAME NUMBER" are dropped there, so keep it plain C).
 *
 * Rules that hold for every call:
 *  - A handle is a 64-bit number, never 0, never used twice. A handle that is
 *    closed or was never given out yields GS_EBADF; it never crashes.
 *  - A call returns >= 0 on success and a negative GS_E... code on failure.
 *  - No call waits, save gs_wait, gs_reside, gs_gather, gs_pour and gs_pour_from, which say what
 *    ends them.
 *    What is not ready yields GS_EAGAIN; readiness is an eventfd.
 *  - Any thread may call anything at any time, except gs_arm, gs_inject on one
 *    stack (one receiving thread at a time) and gs_drain (one sending thread at
 *    a time): the caller holds a lock.
 *  - Addresses are 16 bytes with their version (4 or 6) beside them; IPv4 is in
 *    the first four. Ports are in host order.
 *  - Memory that the caller passes is read or written during the call only,
 *    unless said otherwise.
 */
#ifndef GOSTACK_H
#define GOSTACK_H

#include <stdint.h>

/* Raised by every change to this file that an older caller would trip over. */
#define GS_ABI 13

#define GS_EAGAIN -1      /* not now; wait for the eventfd */
#define GS_EBADF -2       /* no such handle, or closed */
#define GS_EINVAL -3      /* an argument makes no sense */
#define GS_EREFUSED -4    /* TCP: RST in answer to our SYN. UDP: ICMP port unreachable */
#define GS_ERESET -5      /* RST on an open connection */
#define GS_ETIMEOUT -6    /* the stack gave up retransmitting */
#define GS_EUNREACH -7    /* ICMP unreachable, or no route in the stack; see gs_observe */
#define GS_ENEXTHOP -8    /* ARP / neighbour discovery for the next hop failed */
#define GS_EPIPE -9       /* write after the write side was shut down */
#define GS_EMSGSIZE -10   /* datagram larger than the protocol allows */
#define GS_EADDRINUSE -11 /* local address and port already used in this stack */
#define GS_ENOTCONN -12   /* not connected (yet) */
#define GS_ENOMEM -13     /* a queue is full */
#define GS_EFAULT -14     /* anything else; never expected */
#define GS_EDETACHED -15  /* the stack has no packet socket of its own */
#define GS_EPANIC -16     /* the library panicked: gs_last_panic. Its state is not known any more: close the stack */
#define GS_WIRE -1000     /* GS_WIRE - errno: the packet socket failed for good */
#define GS_SOURCE -2000   /* GS_SOURCE - errno: a descriptor to send from cannot be read */
#define GS_LOCAL -3000    /* GS_LOCAL - errno: no eventfd, epoll or socketpair for the library */

#define GS_TCP 6
#define GS_UDP 17

/* A frame in a batch: [0] the 10-byte virtio-net header, [1..] the frame.
 * Both batches are arrays of the kernel's own struct mmsghdr (passed as void*,
 * so that no libc struct stands here), so recvmmsg and sendmmsg take them as
 * they are and Python touches no frame. msg_hdr.msg_iov must point to as many
 * iovecs as named here. */
#define GS_RX_IOVECS 3
#define GS_TX_IOVECS 72
#define GS_VNET_LEN 10

typedef struct {
    uint32_t mtu;          /* IP MTU of the link, without Ethernet header */
    uint8_t mac[6];        /* ours; all zero on a link without Ethernet header */
    uint8_t ethernet;      /* 1: frames carry an Ethernet header */
    uint8_t gso;           /* 1: frames up to 64 KiB with virtio-net GSO may be sent */
} gs_link;

/* How the packets of a flow leave. A next hop without a MAC is resolved by ARP or neighbour
 * discovery (RFC 4861), and again when it announces another MAC or stops answering. */
typedef struct {
    uint64_t link;         /* the stack whose packet socket is used; 0: the stack's own. It asks for the
                              next hop from an address of its own, so it must have one. */
    uint8_t version;       /* of next_hop: 4 or 6 */
    uint8_t has_next_hop;  /* 0: the destination itself */
    uint8_t has_mac;
    uint8_t next_hop[16];
    uint8_t mac[6];
    uint32_t mtu;          /* IP MTU of the path; 0: the link's */
} gs_path;

typedef struct {
    uint8_t version;       /* 4 or 6 */
    uint8_t prefix_length;
    uint8_t has_gateway;   /* 0: on-link */
    uint8_t network[16];
    uint8_t gateway[16];
} gs_route;

/* What was seen on the wire of one flow: the truth behind an error code. All
 * zero where nothing was seen. `sender` of the last event of that kind. */
typedef struct {
    uint32_t syns_sent;        /* SYN segments handed to the wire (UDP: datagrams) */
    uint32_t frames_received;  /* frames of the flow, from the peer */
    uint32_t resets;           /* RST segments from the peer */
    uint8_t reset_ttl;
    uint8_t hairpin_ttl;
    uint8_t icmp_type;         /* last ICMP error that quotes the flow */
    uint8_t icmp_code;
    uint32_t icmp_errors;
    uint32_t icmp_mtu;         /* from fragmentation needed / packet too big */
    uint8_t icmp_sender[16];
    uint8_t icmp_version;      /* 4 or 6 */
    uint8_t icmp_ttl;
    uint8_t hairpin_mac[6];
    uint32_t hairpins;         /* our own packets that came back in */
    uint32_t neighbor_requests;/* ARP / NS for the flow's next hop, since the flow uses it */
    uint32_t neighbor_replies; /* ARP / NA that came back */
    uint32_t far_frames;       /* frames of the flow with a TTL below GS_OPT_MIN_TTL */
    uint8_t far_ttl;           /* of the last of them */
    uint8_t next_hop_version;  /* 4 or 6; 0: the MAC alone decides, or nothing was sent yet */
    uint8_t next_hop[16];
    uint8_t has_next_hop_mac;
    uint8_t next_hop_mac[6];   /* what the flow's last frame was sent to */
    uint8_t hop_state;         /* RFC 4861, as GS_HOP_ */
} gs_observation;

#define GS_HOP_UNKNOWN 0
#define GS_HOP_INCOMPLETE 1
#define GS_HOP_REACHABLE 2
#define GS_HOP_STALE 3
#define GS_HOP_DELAY 4
#define GS_HOP_PROBE 5
#define GS_HOP_STATIC 6
#define GS_HOP_FAILED 7

typedef struct {
    uint64_t frames_in, frames_out, bytes_in, bytes_out; /* bytes of frames, without vnet header */
    uint64_t queue_full;       /* frames refused by the link queue; counted, never silent */
    uint64_t malformed;        /* frames the link threw away */
    uint64_t no_next_hop;      /* packets dropped: no route, or the next hop did not answer */
    uint64_t retransmits, fast_retransmits, timeouts, checksum_errors;
    uint32_t endpoints;        /* open endpoint handles of this stack */
    uint32_t queued;           /* frames waiting to be drained */
} gs_statistics;

typedef struct {
    uint32_t state;            /* gVisor's tcp.EndpointState number; 0 for UDP */
    uint32_t rtt_us, rtt_var_us, rto_us;
    uint32_t cwnd;             /* segments */
    uint32_t mss;              /* bytes of payload a segment */
    uint32_t retransmits;
    uint32_t unacked;          /* payload bytes written and not yet acknowledged (queued ones too) */
    uint32_t unread;           /* bytes waiting to be read */
    uint32_t handshake_us;     /* from our last SYN (or SYN-ACK) to its acknowledgement; 0 where not seen */
    uint8_t fin_acked;         /* our FIN was sent and acknowledged */
    uint8_t fin_received;
    uint8_t peer_ttl;          /* TTL or hop limit of the peer's last packet; 0 before one came */
    uint8_t leaving;           /* UDP: packets may wait for a next hop's MAC, or to be drained (whole stack) */
} gs_info;

/* GS_ABI of this library. */
int32_t gs_abi(void);
/* Open handles (stacks and endpoints): for leak tests. */
uint64_t gs_live_handles(void);
/* The text of the last GS_EPANIC of any thread: as much of it as n bytes hold. Returns its whole length. */
int64_t gs_last_panic(void *text, uint64_t n);

/* ---- stack ---- */
int64_t gs_stack_new(gs_link *link);
/* Closes the stack and every endpoint on it. Both batches may be freed after. */
int32_t gs_stack_close(uint64_t stack);
/* Changes the link's MAC and MTU. Connections go on with both; next hops are resolved again
 * when the MAC is another. `ethernet` and `gso` cannot change. */
int32_t gs_link_set(uint64_t stack, gs_link *link);
/* assigned 1: the kernel has the address on this interface. A neighbour that asks for its MAC twice
 * within 3 seconds is answered by the stack: rules of the host keep the kernel from it.
 * Again for the same address: changes `assigned` alone. */
int32_t gs_address_add(uint64_t stack, uint8_t version, uint8_t *address, uint8_t assigned);
/* The host has lost the address: nothing is sent from it and received for it until it is added
 * again. Endpoints on it stay open. */
int32_t gs_address_remove(uint64_t stack, uint8_t version, uint8_t *address);
/* An address that the host's kernel does not have: who asks for its MAC (ARP,
 * neighbour solicitation) is answered by the stack. */
int32_t gs_address_claim(uint64_t stack, uint8_t version, uint8_t *address);
/* Routes decide for flows that have no gs_path: those of a listener, and datagrams of an endpoint
 * without a peer. gateway NULL: the prefix is on-link. Longest prefix wins. */
int32_t gs_route_add(uint64_t stack, uint8_t version, uint8_t *network, uint8_t prefix_length, uint8_t *gateway);
/* Replaces all of them at once, also for connections that are open. */
int32_t gs_routes_set(uint64_t stack, gs_route *routes, uint32_t n);
/* A MAC that is never asked for, as that of the kernel's PERMANENT and NOARP entries. */
int32_t gs_neighbor_add(uint64_t stack, uint8_t version, uint8_t *address, uint8_t *mac);
/* Forgets a MAC, static or learned: the next packet for it has it resolved. */
int32_t gs_neighbor_remove(uint64_t stack, uint8_t version, uint8_t *address);
/* From now on a packet of a flow without a gs_path goes to the MAC that its receiver's own packets
 * came from, whatever routes say. Before the first gs_inject, on a link with Ethernet headers. */
int32_t gs_answer_where_it_came_from(uint64_t stack);
int32_t gs_stack_statistics(uint64_t stack, gs_statistics *out);

/* ---- frames ---- */
/* An eventfd of the stack's own (do not close it): readable when frames wait to
 * be drained and the last drain came back empty. Read it, then drain to 0. */
int32_t gs_outgoing_fd(uint64_t stack);
/* Points the batch's iovecs at pinned Go memory; again and again ready after each gs_inject. */
int32_t gs_arm(uint64_t stack, void *mmsghdrs, uint32_t n);
/* Hands the first n frames of the armed batch (msg_len as recvmmsg wrote it) to the stack. */
int32_t gs_inject(uint64_t stack, void *mmsghdrs, uint32_t n);
/* Fills up to max entries (iovecs and msg_iovlen) and returns how many. Their
 * memory stays valid until the next gs_drain on this stack or its close. */
int32_t gs_drain(uint64_t stack, void *mmsghdrs, uint32_t max);

/* ---- frames, moved by the stack itself ----
 * With a packet socket attached, gs_arm, gs_inject and gs_drain are not called, and need
 * no lock: whoever waits receives meanwhile, whoever produces frames sends them. */

/* Entries of a tally: [0] frames sent, [GS_TALLY - 1] frames received that
 * struct virtio_net_hdr has no words for, [e] frames refused with errno e. */
#define GS_TALLY 256
/* fd does not block; `in` (two entries at least: half is filled while the other half is
 * handed to the stack) and `out` are batches as for gs_arm and gs_drain, tally is
 * written at any time. All of them are the stack's until gs_detach or gs_stack_close. */
int32_t gs_attach(uint64_t stack, int32_t fd, void *in, uint32_t n_in, void *out, uint32_t n_out, uint64_t *tally);
/* Once it returns nobody uses the socket, the batches and the tally any more. */
int32_t gs_detach(uint64_t stack);
/* Sends what waits; waits itself only while the socket's buffer is full, at most a second. */
int32_t gs_flush(uint64_t stack);

/* What ends a wait: a descriptor of `fds` (at most four) that polls readable, `timeout_ms`
 * milliseconds (-1: no limit), a signal that lands on the thread. GS_WAIT_ONCE ends it
 * when it has moved frames, too: for a thread that has signal handlers to run. */
#define GS_WAIT_ONCE 1
/* Moves frames. Bits of fds that are ready; 0: time is over; GS_EAGAIN: a signal, or once. */
int64_t gs_wait(uint64_t stack, int32_t *fds, uint32_t n, int64_t timeout_ms, uint32_t flags);
/* The same for one thread that does nothing else. It receives while nobody waits, and
 * sends what timers and the library's own threads produce. */
int64_t gs_reside(uint64_t stack, int32_t *fds, uint32_t n, int64_t timeout_ms);

/* ---- endpoints ---- */
/* Connects, local part given. TCP: GS_EAGAIN state follows through gs_connect_result.
 * path NULL: the routes decide. The MSS option follows the path's MTU. */
int64_t gs_connect(uint64_t stack, uint8_t protocol, uint8_t version, uint8_t *local, uint16_t local_port,
                   uint8_t *remote, uint16_t remote_port, gs_path *path);
/* Changes the path of an endpoint with a peer at any time; NULL: the routes decide. On the link of
 * another stack the flow's frames are sent and received there, until that stack is closed. */
int32_t gs_path_set(uint64_t endpoint, gs_path *path);
/* GS_EAGAIN while connecting (wait for the writable fd), 0 when open, else the error. */
int32_t gs_connect_result(uint64_t endpoint);
/* UDP without a peer. */
int64_t gs_bind(uint64_t stack, uint8_t version, uint8_t *local, uint16_t local_port);
int64_t gs_listen(uint64_t stack, uint8_t version, uint8_t *local, uint16_t local_port, uint32_t backlog);
/* A new endpoint, the peer's address written to out (16 bytes) and port. */
int64_t gs_accept(uint64_t listener, uint8_t *remote, uint16_t *remote_port);

/* Level-triggered eventfds of the endpoint's own (do not close them), made on
 * first use: readable-poll true while a read (accept) would not yield GS_EAGAIN;
 * readable-poll (POLLIN) of the writable fd true while a write, or a finished
 * connect, would not. */
int32_t gs_readable_fd(uint64_t endpoint);
int32_t gs_writable_fd(uint64_t endpoint);
/* Both in one, as a socket would poll: POLLIN while a read (accept) would not yield
 * GS_EAGAIN, POLLOUT while a write, or a finished connect, would not. Neither read nor
 * write it. Two descriptors and some system calls more than the others. */
int32_t gs_readiness_fd(uint64_t endpoint);

/* Bytes read; 0 is end of stream (TCP). UDP: one datagram, cut at n; `full` gets its whole length. */
int64_t gs_recv(uint64_t endpoint, void *buffer, uint64_t n);
int64_t gs_recv_from(uint64_t endpoint, void *buffer, uint64_t n, uint64_t *full, uint8_t *remote, uint16_t *remote_port);
/* The same for TCP, and waits for the first bytes until the time is over, goes on as more
 * has come; moves frames meanwhile. */
int64_t gs_gather(uint64_t endpoint, void *buffer, uint64_t n, uint32_t milliseconds);
/* Bytes taken (may be fewer for TCP). */
int64_t gs_send(uint64_t endpoint, void *buffer, uint64_t n);
/* The same for TCP, and goes on as there is room until all is taken or the time is over;
 * moves frames meanwhile. */
int64_t gs_pour(uint64_t endpoint, void *buffer, uint64_t n, uint32_t milliseconds);
/* The same, of bytes that fd gives from where its offset stands: a regular file or a pipe
 * (GS_SOURCE - EINVAL for another), which may block or not. 0: its end. GS_EAGAIN: nothing to read, or
 * no room in that time. It ends early where a pipe is empty; the read of a file may wait for a disk.
 * `lost` gets the bytes that were read when the connection failed, and not taken. */
int64_t gs_pour_from(uint64_t endpoint, int32_t fd, uint64_t n, uint32_t milliseconds, uint64_t *lost);
int64_t gs_send_to(uint64_t endpoint, void *buffer, uint64_t n, uint8_t version, uint8_t *remote, uint16_t remote_port);
/* Moves bytes between an open TCP connection and fd, one end of a stream socketpair, both
 * ways until both have ended; half-close both ways. A byte must wait in fd, written at the
 * other end beforehand and delivered to nobody: it is what a RST of the peer is told by
 * (ECONNRESET at the other end). On success fd is the library's, the endpoint's readable
 * and writable fds are gone, and nobody else may read or write it. */
int32_t gs_bridge(uint64_t endpoint, int32_t fd);
/* 1 while a bridge moves bytes, 2 while it moves the last ones of a program that has closed
 * its end, 0 when it has ended: the endpoint is still to be closed. */
int32_t gs_bridged(uint64_t endpoint);
/* An eventfd of the stack's own (do not close it): readable when a bridge has ended. Read it. */
int32_t gs_bridges_fd(uint64_t stack);
/* how: 1 read side, 2 write side (FIN after what is queued), 3 both. */
int32_t gs_shutdown(uint64_t endpoint, uint32_t how);
/* For an endpoint that its owner has closed: as gs_shutdown of both sides, and its descriptors are
 * closed. It goes on to deliver what is queued until gs_close. */
int32_t gs_retire(uint64_t endpoint);
/* Closes in order in the background (FIN, retransmits as long as the stack lives). */
int32_t gs_close(uint64_t endpoint);
/* RST now. */
int32_t gs_abort(uint64_t endpoint);
int32_t gs_endpoint_info(uint64_t endpoint, gs_info *out);
/* Options. Set on a stack, an option holds for the endpoints that are opened on it
 * later: the only way to have it in force before the first segment leaves. */
#define GS_OPT_NODELAY 1
#define GS_OPT_KEEPALIVE 2
#define GS_OPT_TTL 3
#define GS_OPT_TOS 4
#define GS_OPT_RECEIVE_BUFFER 5
#define GS_OPT_SEND_BUFFER 6
#define GS_OPT_BROADCAST 7
#define GS_OPT_MIN_TTL 8     /* packets of the flow, or for the listener, with a lower TTL are not seen (RFC 5082) */
#define GS_OPT_MAX_SEGMENT 9 /* TCP: payload bytes a segment; on a stack only, for what is opened later */
#define GS_OPT_SHARE_PORT 10 /* several endpoints on one local port, each with a peer of its own; before they are bound */
#define GS_OPT_KEEP_IDLE 11     /* TCP keepalive: seconds without a packet before the first probe (1 to 32767) */
#define GS_OPT_KEEP_INTERVAL 12 /* seconds between probes (1 to 32767) */
#define GS_OPT_KEEP_COUNT 13    /* probes without an answer until the connection ends (1 to 127) */
#define GS_OPT_USER_TIMEOUT 14  /* TCP: milliseconds that data and probes may remain unacknowledged; 0: the default */
#define GS_OPT_MTU_EXPIRES 15   /* milliseconds after which a path MTU that was lowered is tried again; 600,000 by default; for all connections of the stack */
#define GS_OPT_LINGER 16        /* TCP: 0: off; 1: a bridge that its program closes ends by RST; more: seconds + 1, for the caller */
int32_t gs_option_set(uint64_t endpoint_or_stack, uint32_t option, int64_t value);
int64_t gs_option_get(uint64_t endpoint, uint32_t option);

/* What the wire saw of the flow (version, protocol, both ends as in gs_connect). */
int32_t gs_observe(uint64_t stack, uint8_t protocol, uint8_t version, uint8_t *local, uint16_t local_port,
                   uint8_t *remote, uint16_t remote_port, gs_observation *out);

/* Records of a capture file from packets that lie in a block of a TPACKET_V3
 * ring: `count` of them, the first at `packets`, none beyond `size` bytes.
 * `interface_number` is a pcapng interface number. Returns the bytes written to `out`,
 * which a block's worth of room always holds. Reads and writes caller's memory only. */
#define GS_PCAP_MICRO 0
#define GS_PCAP_NANO 1
#define GS_PCAPNG 2
int64_t gs_capture_records(void *packets, uint64_t size, uint32_t count, int32_t form, uint32_t interface_number,
                           void *out, uint64_t room);

#endif
