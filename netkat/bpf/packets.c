/* The packet socket's filter for many flows: what belongs to one of them gets in.
 *
 * It lets in what the classic filter does (socket_filter.py says what that is), but
 * looks flows up in the guard's map, so that it stays as it is when they come and
 * go. NETWORK is where the network header lies in what a packet socket sees.
 *
 * A driver may leave headers in page fragments: bpf_skb_load_bytes reads those too,
 * the relative helper does not, and a socket filter may not pull them.
 */
#include "flows.h"
#include <uapi/linux/if_arp.h>
#include <uapi/linux/if_packet.h>

#define PEER 1 /* one that a flow's later fragments come from; zero is anybody */
#define HOP 2  /* a next hop, in the remote part; zero is anybody */
#define OURS 3 /* an address of ours, in the local part */

#define ACCEPT -1
#define REJECT 0

#define ICMP_ERROR 8 /* bytes of an ICMP message before what it quotes, or is about */
#define ADVERTISEMENT 136
#define LAST_ICMPV6_ERROR 4

static __always_inline int load(struct __sk_buff *skb, u32 offset, void *to, u32 length)
{
    return bpf_skb_load_bytes(skb, NETWORK + offset, to, length);
}

static __always_inline int is_ours(const u8 *address, u32 length, u8 version)
{
    struct flow_key key = {};

    __builtin_memcpy(key.local, address, length);
    key.version = version;
    key.kind = OURS;
    return flows.lookup(&key) != 0;
}

static __always_inline int is_next_hop(const u8 *address, u32 length, u8 version, int *anybody)
{
    struct flow_key key = {};

    key.version = version;
    key.kind = HOP;
    *anybody = flows.lookup(&key) != 0;
    __builtin_memcpy(key.remote, address, length);
    return *anybody || flows.lookup(&key) != 0;
}

/* A flow as the key has it, or one of any peer. */
static __always_inline int known(struct flow_key *key)
{
    if (flows.lookup(key))
        return ACCEPT;
    __builtin_memset(key->remote, 0, sizeof(key->remote));
    key->remote_port = 0;
    return flows.lookup(key) ? ACCEPT : REJECT;
}

static __always_inline int later_fragment(struct flow_key *key)
{
    key->kind = PEER;
    return known(key);
}

/* The ports at offset, of a packet that we sent (ours is true) or got. */
static __always_inline int ported(struct __sk_buff *skb, struct flow_key *key, u32 offset, int ours)
{
    struct { u16 source, destination; } ports;

    if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP)
        return REJECT;
    if (load(skb, offset, &ports, sizeof(ports)))
        return REJECT;
    key->local_port = ours ? ports.source : ports.destination;
    key->remote_port = ours ? ports.destination : ports.source;
    return known(key);
}

static __always_inline int ipv4_quoted(struct __sk_buff *skb, u32 offset)
{
    struct flow_key key = {};
    struct iphdr ip;
    u8 kind;

    if (load(skb, offset, &kind, 1))
        return REJECT;
    if (kind != 3 && kind != 4 && kind != 11 && kind != 12) /* RFC 792 */
        return REJECT;
    offset += ICMP_ERROR;
    if (load(skb, offset, &ip, sizeof(ip)))
        return REJECT;
    if (ip.version != 4 || ip.frag_off & htons(IP_OFFSET))
        return REJECT;
    key.version = 4;
    key.protocol = ip.protocol;
    __builtin_memcpy(key.local, &ip.saddr, 4);
    __builtin_memcpy(key.remote, &ip.daddr, 4);
    return ported(skb, &key, offset + ip.ihl * 4, 1);
}

static __always_inline int ipv4(struct __sk_buff *skb)
{
    struct flow_key key = {};
    struct iphdr ip;
    int inbound;

    if (load(skb, 0, &ip, sizeof(ip)))
        return REJECT;
    inbound = is_ours((u8 *)&ip.daddr, 4, 4);
    if (ip.protocol == IPPROTO_ICMP)
        return inbound && !(ip.frag_off & htons(IP_OFFSET)) ? ipv4_quoted(skb, ip.ihl * 4) : REJECT;
    key.version = 4;
    key.protocol = ip.protocol;
    __builtin_memcpy(key.local, inbound ? &ip.daddr : &ip.saddr, 4);
    __builtin_memcpy(key.remote, inbound ? &ip.saddr : &ip.daddr, 4);
    if (ip.frag_off & htons(IP_OFFSET))
        return inbound ? later_fragment(&key) : REJECT;
    return ported(skb, &key, ip.ihl * 4, !inbound);
}

struct extension {
    u8 next;
    u8 length;
    u16 fragment_offset;
};

/* Step over extension headers from offset on: where the transport header starts. For a
 * later fragment, negative; next is the fragmented protocol then. */
static __always_inline int walk(struct __sk_buff *skb, u32 offset, u8 *next)
{
    struct extension header;
    int i;

#pragma unroll
    for (i = 0; i < EXTENSION_HEADERS; i++) {
        if (*next != IPPROTO_FRAGMENT && *next != IPPROTO_HOPOPTS && *next != IPPROTO_ROUTING &&
            *next != IPPROTO_DSTOPTS)
            return offset;
        if (load(skb, offset, &header, sizeof(header))) {
            *next = IPPROTO_NONE;
            return offset;
        }
        if (*next == IPPROTO_FRAGMENT && header.fragment_offset & htons(IP6_OFFSET)) {
            *next = header.next;
            return -1;
        }
        offset += *next == IPPROTO_FRAGMENT ? 8 : (header.length + 1) * 8;
        *next = header.next;
    }
    return offset;
}

static __always_inline int ipv6_quoted(struct __sk_buff *skb, u32 offset)
{
    struct flow_key key = {};
    struct ipv6hdr ip;
    u8 next;
    int at;

    if (load(skb, offset, &ip, sizeof(ip)))
        return REJECT;
    if (ip.version != 6)
        return REJECT;
    key.version = 6;
    __builtin_memcpy(key.local, &ip.saddr, 16);
    __builtin_memcpy(key.remote, &ip.daddr, 16);
    next = ip.nexthdr;
    at = walk(skb, offset + sizeof(ip), &next);
    if (at < 0)
        return REJECT;
    key.protocol = next;
    return ported(skb, &key, at, 1);
}

/* A neighbour's word about its MAC, to us or to all nodes (RFC 4861, 7.2.6). */
static __always_inline int advertised(struct __sk_buff *skb, u32 offset, int to_us)
{
    u8 target[16];
    int anybody;

    if (load(skb, offset + ICMP_ERROR, target, sizeof(target)))
        return REJECT;
    if (!is_next_hop(target, 16, 6, &anybody))
        return REJECT;
    return to_us || !anybody ? ACCEPT : REJECT;
}

static __always_inline int is_all_nodes(const struct in6_addr *address)
{
    return address->s6_addr32[0] == htonl(0xff020000) && !address->s6_addr32[1] &&
           !address->s6_addr32[2] && address->s6_addr32[3] == htonl(1);
}

static __always_inline int icmpv6(struct __sk_buff *skb, u32 offset, int to_us)
{
    u8 kind;

    if (load(skb, offset, &kind, 1))
        return REJECT;
    if (kind == ADVERTISEMENT)
        return advertised(skb, offset, to_us);
    if (!to_us || !kind || kind > LAST_ICMPV6_ERROR) /* RFC 4443 */
        return REJECT;
    return ipv6_quoted(skb, offset + ICMP_ERROR);
}

static __always_inline int ipv6(struct __sk_buff *skb)
{
    struct flow_key key = {};
    struct ipv6hdr ip;
    int inbound, at;
    u8 next;

    if (load(skb, 0, &ip, sizeof(ip)))
        return REJECT;
    inbound = is_ours((u8 *)&ip.daddr, 16, 6);
    key.version = 6;
    __builtin_memcpy(key.local, inbound ? &ip.daddr : &ip.saddr, 16);
    __builtin_memcpy(key.remote, inbound ? &ip.saddr : &ip.daddr, 16);
    next = ip.nexthdr;
    if (!inbound && next == IPPROTO_ICMPV6) {
        if (!is_all_nodes(&ip.daddr) || is_ours((u8 *)&ip.saddr, 16, 6))
            return REJECT;
        return icmpv6(skb, sizeof(ip), 0);
    }
    at = walk(skb, sizeof(ip), &next);
    key.protocol = next;
    if (at < 0)
        return inbound ? later_fragment(&key) : REJECT;
    if (next == IPPROTO_ICMPV6)
        return inbound ? icmpv6(skb, at, 1) : REJECT;
    return ported(skb, &key, at, !inbound);
}

/* ARP (RFC 826) for IPv4 on Ethernet. */
static __always_inline int arp(struct __sk_buff *skb)
{
    struct __attribute__((packed)) {
        u16 hardware, protocol;
        u8 hardware_length, protocol_length;
        u16 operation;
        u8 sender_mac[6], sender[4], target_mac[6], target[4];
    } arp;
    int anybody;

    if (load(skb, 0, &arp, sizeof(arp)))
        return REJECT;
    if (arp.protocol != htons(ETH_P_IP) || arp.hardware_length != 6 || arp.protocol_length != 4)
        return REJECT;
    if (arp.operation != htons(ARPOP_REPLY) || !is_ours(arp.target, 4, 4))
        return REJECT;
    return is_next_hop(arp.sender, 4, 4, &anybody) ? ACCEPT : REJECT;
}

int netkat_packets(struct __sk_buff *skb)
{
    /* Not what this host sends, nor what another is sent. The tag is stripped before
     * taps; id 0 only carries a priority. */
    if (skb->pkt_type > PACKET_MULTICAST)
        return REJECT;
    if (skb->vlan_present && skb->vlan_tci & VLAN_ID)
        return REJECT;
    if (skb->protocol == htons(ETH_P_IP))
        return ipv4(skb);
    if (skb->protocol == htons(ETH_P_IPV6))
        return ipv6(skb);
    if (NETWORK && skb->protocol == htons(ETH_P_ARP))
        return arp(skb);
    return REJECT;
}
