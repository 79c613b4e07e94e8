/* Which of netkat's flows a packet belongs to. The guard (ingress.c) and the packet socket's
 * filter (socket_filter.c) share the map of flows and this parser; classic_filter.py and
 * classic_guard.py are the same rule in classic BPF.
 *
 * The source that includes this defines load(): reads `length` bytes of the packet at `at`,
 * zero on success.
 *
 * No helper used here is reserved for GPL programs, so the programs' license is the project's
 * own, "Apache-2.0".
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>

#define EXTENSION_HEADERS 6 /* skipped before the transport header (RFC 8200) */
#define VLAN_ID 0x0fff
#define IP_OFFSET 0x1fff
#define IP6_OFFSET 0xfff8

/* kind of struct flow_key. Unused fields are zero. */
#define FLOW 0      /* all fields; without remote address and port: a listener's, any peer */
#define FRAGMENTS 1 /* local, remote (zero: any), protocol: a flow's later fragments */
#define NEXT_HOP 2  /* remote: a flow's next hop; zero: any */
#define LOCAL 3     /* local: a flow's address */
#define CLAIMED 4   /* local: an address that the kernel does not have */

/* As netkat/bpf/filters/flow_key.py packs it. IPv4 addresses fill the first four bytes. */
struct flow_key {
    u8 local[16];
    u8 remote[16];
    u16 local_port; /* network order, as in the packet */
    u16 remote_port;
    u8 protocol;
    u8 version;
    u8 kind;
    u8 zero;
};

/* Value: packets that the guard dropped for the kernel; a GRO packet counts as one. */
BPF_HASH(flows, struct flow_key, u64);

#define LATER_FRAGMENT -1
#define NO_TRANSPORT -2

/* A tag with id 0 only carries a priority (IEEE 802.1Q, 9.6). */
static __always_inline int is_other_vlan(struct __sk_buff *skb)
{
    return skb->vlan_present && skb->vlan_tci & VLAN_ID;
}

/* Both parsers fill in protocol and addresses (local: the destination) of the packet at `at`.
 * They return where the transport header starts, LATER_FRAGMENT or NO_TRANSPORT. */
static __always_inline int parse_ipv4(struct __sk_buff *skb, u32 at, struct flow_key *key)
{
    struct iphdr ip;

    if (load(skb, at, &ip, sizeof(ip)))
        return NO_TRANSPORT;
    if (ip.version != 4 || ip.ihl < 5)
        return NO_TRANSPORT;
    key->version = 4;
    key->protocol = ip.protocol;
    __builtin_memcpy(key->local, &ip.daddr, 4);
    __builtin_memcpy(key->remote, &ip.saddr, 4);
    return ip.frag_off & htons(IP_OFFSET) ? LATER_FRAGMENT : at + ip.ihl * 4;
}

struct extension {
    u8 next;
    u8 length;
    union {
        __be16 fragment_offset;
        struct {
            u8 routing_type;
            u8 segments_left;
        };
    };
};

static __always_inline int parse_ipv6(struct __sk_buff *skb, u32 at, struct flow_key *key,
                                      int most_extensions)
{
    struct ipv6hdr ip;
    struct extension header;
    u8 next;
    int i;

    if (load(skb, at, &ip, sizeof(ip)))
        return NO_TRANSPORT;
    if (ip.version != 6)
        return NO_TRANSPORT;
    key->version = 6;
    __builtin_memcpy(key->local, &ip.daddr, 16);
    __builtin_memcpy(key->remote, &ip.saddr, 16);
    next = ip.nexthdr;
    at += sizeof(ip);
#pragma unroll
    for (i = 0; i < EXTENSION_HEADERS; i++) {
        if (i == most_extensions)
            break;
        if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_FRAGMENT &&
            next != IPPROTO_DSTOPTS)
            break;
        if (load(skb, at, &header, sizeof(header)))
            return NO_TRANSPORT;
        if (next == IPPROTO_ROUTING && header.segments_left)
            return NO_TRANSPORT;
        if (next == IPPROTO_FRAGMENT && header.fragment_offset & htons(IP6_OFFSET)) {
            key->protocol = header.next;
            return LATER_FRAGMENT;
        }
        at += next == IPPROTO_FRAGMENT ? 8 : (header.length + 1) * 8;
        next = header.next;
    }
    key->protocol = next;
    return at;
}

/* The ports of the TCP or UDP header at `at`; negative where there are none. */
static __always_inline int load_ports(struct __sk_buff *skb, u32 at, struct flow_key *key)
{
    struct { u16 source, destination; } ports;

    if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP)
        return -1;
    if (load(skb, at, &ports, sizeof(ports)))
        return -1;
    key->local_port = ports.destination;
    key->remote_port = ports.source;
    return 0;
}

/* The entry with this key, or the one for any peer. */
static __always_inline u64 *find(struct flow_key *key)
{
    u64 *entry = flows.lookup(key);

    if (entry)
        return entry;
    __builtin_memset(key->remote, 0, sizeof(key->remote));
    key->remote_port = 0;
    return flows.lookup(key);
}

/* The entry of one kind that names a local address alone. */
static __always_inline u64 *find_local(const u8 *address, u32 length, u8 version, u8 kind)
{
    struct flow_key key = {};

    __builtin_memcpy(key.local, address, length);
    key.version = version;
    key.kind = kind;
    return flows.lookup(&key);
}
