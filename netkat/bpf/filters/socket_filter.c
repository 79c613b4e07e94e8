/* The packet socket's filter: accepts packets of netkat's flows and what their next hops need.
 *
 * - TCP and UDP packets of a flow, received, or sent by it and returned (a hairpin)
 * - later fragments with a flow's addresses and protocol
 * - ICMP errors that quote a packet sent by a flow
 * - ARP requests and neighbour solicitations for a flow's local address
 * - ARP packets sent by a flow's next hop, and neighbour advertisements of it
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_arp.h>
#include <uapi/linux/if_packet.h>

/* Where the network header starts: 14 on Ethernet, 0 on links without a header. The loader
 * (prebuilt.py) replaces the number. A VLAN tag is not in the frame by now
 * (net/core/dev.c, skb_vlan_untag). */
static __always_inline u32 network_header(void)
{
    u64 offset;

    asm volatile("%0 = 0x6e6b6e68 ll" : "=r"(offset));
    return offset;
}

/* Reads page fragments too; the helper that is relative to the network header does not. */
static __always_inline int load(struct __sk_buff *skb, u32 at, void *to, u32 length)
{
    return bpf_skb_load_bytes(skb, at, to, length);
}

#include "flow_lookup.h"

#define ACCEPT -1
#define REJECT 0

#define QUOTED_EXTENSION_HEADERS 1 /* netkat sends none but a fragment header */
#define ICMP_HEADER 8 /* before the packet that an error quotes, or a neighbour message's target */
#define SOLICITATION 135
#define ADVERTISEMENT 136
#define LAST_ICMPV6_ERROR 4

/* The key of a packet in the other direction. */
static __always_inline void reverse(struct flow_key *key)
{
    struct flow_key received = *key;

    __builtin_memcpy(key->local, received.remote, sizeof(key->local));
    __builtin_memcpy(key->remote, received.local, sizeof(key->remote));
    key->local_port = received.remote_port;
    key->remote_port = received.local_port;
}

static __always_inline int is_icmp_error(u8 type, u8 version)
{
    if (version == 6)
        return type && type <= LAST_ICMPV6_ERROR; /* RFC 4443 */
    return type == 3 || type == 4 || type == 11 || type == 12; /* RFC 792 */
}

/* An ICMP error: the packet that it quotes was sent by a flow. */
static __always_inline int quotes_flow(struct __sk_buff *skb, u32 at, u8 version)
{
    struct flow_key key = {};
    int transport;

    if (version == 6)
        transport = parse_ipv6(skb, at, &key, QUOTED_EXTENSION_HEADERS);
    else
        transport = parse_ipv4(skb, at, &key);
    if (transport < 0 || load_ports(skb, transport, &key))
        return REJECT;
    reverse(&key);
    return find(&key) ? ACCEPT : REJECT;
}

static __always_inline int icmp(struct __sk_buff *skb, u32 at, u8 version)
{
    struct flow_key hop = {.version = 6, .kind = NEXT_HOP};
    u8 type, target[16];

    if (load(skb, at, &type, 1))
        return REJECT;
    at += ICMP_HEADER;
    if (is_icmp_error(type, version))
        return quotes_flow(skb, at, version);
    if (version != 6 || (type != SOLICITATION && type != ADVERTISEMENT))
        return REJECT;
    if (load(skb, at, target, sizeof(target)))
        return REJECT;
    if (type == SOLICITATION)
        return find_local(target, 16, 6, LOCAL) ? ACCEPT : REJECT;
    __builtin_memcpy(hop.remote, target, sizeof(target));
    return find(&hop) ? ACCEPT : REJECT;
}

/* ARP (RFC 826) for IPv4 on Ethernet. */
static __always_inline int arp(struct __sk_buff *skb)
{
    struct __attribute__((packed)) {
        u16 hardware, protocol;
        u8 hardware_length, protocol_length;
        u16 operation;
        u8 sender_mac[6];
        u32 sender;
        u8 target_mac[6];
        u32 target;
    } arp;
    struct flow_key hop = {.version = 4, .kind = NEXT_HOP};

    if (load(skb, network_header(), &arp, sizeof(arp)))
        return REJECT;
    if (arp.protocol != htons(ETH_P_IP) || arp.hardware_length != 6 || arp.protocol_length != 4)
        return REJECT;
    if (arp.operation != htons(ARPOP_REQUEST) && arp.operation != htons(ARPOP_REPLY))
        return REJECT;
    if (arp.operation == htons(ARPOP_REQUEST) && find_local((u8 *)&arp.target, 4, 4, LOCAL))
        return ACCEPT;
    __builtin_memcpy(hop.remote, &arp.sender, sizeof(arp.sender));
    /* Where any host may be the next hop: its replies and gratuitous requests. */
    if (arp.operation == htons(ARPOP_REPLY) || arp.sender == arp.target)
        return find(&hop) ? ACCEPT : REJECT;
    return flows.lookup(&hop) ? ACCEPT : REJECT;
}

int netkat_filter(struct __sk_buff *skb)
{
    struct flow_key key = {};
    int at;

    /* Not what this host sends, nor frames for another MAC. */
    if (skb->pkt_type > PACKET_MULTICAST || is_other_vlan(skb))
        return REJECT;
    if (skb->protocol == htons(ETH_P_ARP))
        return arp(skb);
    if (skb->protocol == htons(ETH_P_IP)) {
        at = parse_ipv4(skb, network_header(), &key);
        if (at >= 0 && key.protocol == IPPROTO_ICMP)
            return icmp(skb, at, 4);
    } else if (skb->protocol == htons(ETH_P_IPV6)) {
        at = parse_ipv6(skb, network_header(), &key, EXTENSION_HEADERS);
        if (at >= 0 && key.protocol == IPPROTO_ICMPV6)
            return icmp(skb, at, 6);
    } else {
        return REJECT;
    }
    if (at == LATER_FRAGMENT) {
        key.kind = FRAGMENTS;
        return find(&key) ? ACCEPT : REJECT;
    }
    if (at < 0 || load_ports(skb, at, &key))
        return REJECT;
    if (!find_local(key.local, 16, key.version, LOCAL))
        reverse(&key);
    return find(&key) ? ACCEPT : REJECT;
}
