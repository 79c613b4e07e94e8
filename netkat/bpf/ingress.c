/* The ingress guard: what belongs to one of our flows is dropped for the kernel.
 *
 * Runs as a tcx or clsact ingress program. The packet sockets have taken their
 * copy by then (net/core/dev.c, __netif_receive_skb_core), so a packet dropped
 * here still reaches netkat, and the kernel, which knows nothing of the flow,
 * has nothing to answer with RST or ICMP. Everything else goes on to the next
 * program as if this one were not there.
 *
 * No helper used here is reserved for GPL programs, so the program's license is
 * the project's own, "Apache-2.0".
 */
#include "flows.h"
#include <uapi/linux/pkt_cls.h>

#define HEADERS 256 /* bytes made linear when a driver left headers in page fragments */

/* Loads from the network header: where it lies differs between Ethernet and
 * header-less links. The relative helper sees linear data only, and some
 * drivers (virtio_net without GRO) deliver little more than the Ethernet header
 * as such. */
static __always_inline int load(struct __sk_buff *skb, u32 offset, void *to, u32 length)
{
    u32 pull;

    if (!bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET))
        return 0;
    pull = skb->len < HEADERS ? skb->len : HEADERS;
    if (bpf_skb_pull_data(skb, pull))
        return -1;
    return bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET);
}

/* Each returns the offset of the transport header, or -1 for a packet that
 * carries none that we know: malformed, or a fragment other than the first.
 * Later fragments are left to the kernel: without the first, which is dropped
 * here, they expire there without a word (net/ipv4/ip_fragment.c, ip_expire). For an
 * address that the kernel does not have it would forward them: the key has it filled in. */
static __always_inline int ipv4(struct __sk_buff *skb, struct flow_key *key)
{
    struct iphdr ip;

    if (load(skb, 0, &ip, sizeof(ip)))
        return -1;
    if (ip.version != 4 || ip.ihl < 5)
        return -1;
    key->version = 4;
    key->protocol = ip.protocol;
    __builtin_memcpy(key->local, &ip.daddr, 4);
    __builtin_memcpy(key->remote, &ip.saddr, 4);
    return ip.frag_off & htons(IP_OFFSET) ? -1 : ip.ihl * 4;
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

static __always_inline int ipv6(struct __sk_buff *skb, struct flow_key *key)
{
    struct ipv6hdr ip;
    struct extension header;
    u32 offset = sizeof(ip);
    u8 next;
    int i;

    if (load(skb, 0, &ip, sizeof(ip)))
        return -1;
    if (ip.version != 6)
        return -1;
    key->version = 6;
    __builtin_memcpy(key->local, &ip.daddr, 16);
    __builtin_memcpy(key->remote, &ip.saddr, 16);
    next = ip.nexthdr;
#pragma unroll
    for (i = 0; i <= EXTENSION_HEADERS; i++) {
        if (next == IPPROTO_TCP || next == IPPROTO_UDP) {
            key->protocol = next;
            return offset;
        }
        if (i == EXTENSION_HEADERS || load(skb, offset, &header, sizeof(header)))
            return -1;
        if (next == IPPROTO_FRAGMENT) {
            if (header.fragment_offset & htons(IP6_OFFSET))
                return -1;
            offset += 8;
        } else if (next == IPPROTO_AH) {
            offset += (header.length + 2) * 4;
        } else if (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS) {
            offset += (header.length + 1) * 8;
        } else if (next == IPPROTO_ROUTING && !header.segments_left) {
            offset += (header.length + 1) * 8;
        } else {
            return -1;
        }
        next = header.next;
    }
    return -1;
}

int netkat_ingress(struct __sk_buff *skb)
{
    struct flow_key key = {};
    struct { u16 source, destination; } ports;
    u64 *kept = 0;
    int offset;

    /* The tag is stripped before taps and programs; id 0 only carries a priority. */
    if (skb->vlan_present && skb->vlan_tci & VLAN_ID)
        return TC_ACT_UNSPEC;
    if (skb->protocol == htons(ETH_P_IP))
        offset = ipv4(skb, &key);
    else if (skb->protocol == htons(ETH_P_IPV6))
        offset = ipv6(skb, &key);
    else
        return TC_ACT_UNSPEC;
    if (offset >= 0 && !load(skb, offset, &ports, sizeof(ports))) {
        key.local_port = ports.destination;
        key.remote_port = ports.source;
        kept = flows.lookup(&key);
        __builtin_memset(key.remote, 0, sizeof(key.remote));
        key.remote_port = 0;
        if (!kept)
            kept = flows.lookup(&key);
    }
    if (!kept) {
        __builtin_memset(key.remote, 0, sizeof(key.remote));
        key.local_port = 0;
        key.protocol = 0;
        kept = flows.lookup(&key);
    }
    if (!kept)
        return TC_ACT_UNSPEC;
    __sync_fetch_and_add(kept, 1);
    return TC_ACT_SHOT;
}
