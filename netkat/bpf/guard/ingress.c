/* The ingress guard: drops packets of netkat's flows before the kernel's stack sees them.
 *
 * Runs as a tcx or clsact ingress program. The packet sockets have taken their copy by then
 * (net/core/dev.c, __netif_receive_skb_core), so a packet dropped here still reaches netkat,
 * and the kernel, which has no such flow, does not answer with RST or ICMP. Every other packet
 * goes on to the next program.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/pkt_cls.h>

#define HEADERS 256 /* bytes made linear where a driver left headers in page fragments */

/* Relative to the network header: on a GRE tunnel the packet starts with the outer header here
 * (net/ipv4/ip_gre.c, skb_pop_mac_header). The helper reads linear data only, and some drivers
 * (virtio_net without GRO) leave little more than the Ethernet header there. */
static __always_inline int load(struct __sk_buff *skb, u32 at, void *to, u32 length)
{
    u32 pull;

    if (!bpf_skb_load_bytes_relative(skb, at, to, length, BPF_HDR_START_NET))
        return 0;
    pull = skb->len < HEADERS ? skb->len : HEADERS;
    if (bpf_skb_pull_data(skb, pull))
        return -1;
    return bpf_skb_load_bytes_relative(skb, at, to, length, BPF_HDR_START_NET);
}

#include "../filters/flow_lookup.h"

int netkat_ingress(struct __sk_buff *skb)
{
    struct flow_key key = {};
    u64 *dropped = 0;
    int at;

    if (is_other_vlan(skb))
        return TC_ACT_UNSPEC;
    if (skb->protocol == htons(ETH_P_IP))
        at = parse_ipv4(skb, 0, &key);
    else if (skb->protocol == htons(ETH_P_IPV6))
        at = parse_ipv6(skb, 0, &key, EXTENSION_HEADERS);
    else
        return TC_ACT_UNSPEC;
    /* Later fragments go on to the kernel: without the first, they expire there without a
     * reply (net/ipv4/ip_fragment.c, ip_expire). */
    if (at >= 0 && !load_ports(skb, at, &key))
        dropped = find(&key);
    /* The kernel would forward packets for an address that it does not have. */
    if (!dropped)
        dropped = find_local(key.local, 16, key.version, CLAIMED);
    if (!dropped)
        return TC_ACT_UNSPEC;
    __sync_fetch_and_add(dropped, 1);
    return TC_ACT_SHOT;
}
