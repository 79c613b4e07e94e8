/* The map of flows that the guard (ingress.c) and the wire's filter (packets.c) share. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>

#define EXTENSION_HEADERS 6 /* that are stepped over; a longer chain is not ours */
#define VLAN_ID 0x0fff
#define IP_OFFSET 0x1fff
#define IP6_OFFSET 0xfff8

/* As netkat/bpf/ebpf.py packs it. IPv4 addresses fill the first four bytes.
 * An all-zero remote part is a listener's: any peer. With ports and protocol zero too
 * it is an address that the kernel does not have, and must not forward for.
 * What the filter alone needs to know is an entry of another kind. */
struct flow_key {
    u8 local[16];
    u8 remote[16];
    u16 local_port; /* network order, as on the wire */
    u16 remote_port;
    u8 protocol;
    u8 version;
    u8 kind; /* 0: a flow */
    u8 zero;
};

/* Value: packets kept from the kernel; a super-frame counts as one. */
BPF_HASH(flows, struct flow_key, u64);
