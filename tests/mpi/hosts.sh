# Two hosts, as far as one machine can have them, for scripts that read this one: two network namespaces with addresses of
# their own, 10.77.0.1 and 10.77.0.2, and a link between them, of 1 Gbit/s and 1 ms each way (DELAY and RATE change that).
# `$work/on HOST COMMAND` runs a command on one of them; `$work/ssh` stands in for ssh. Needs root, ip and tc.
RATE=${RATE:-1gbit} DELAY=${DELAY:-1ms}
first=tunebook-a second=tunebook-b
work=$(mktemp -d)
clean() {
  for host in $first $second; do
    ip netns pids $host 2> /dev/null | xargs -r kill || true
    ip netns delete $host 2> /dev/null || true
  done
  rm -r "$work"
}
trap clean EXIT

for host in $first $second; do
  ip netns add $host
  ip -n $host link set lo up
done
ip link add name veth0 netns $first type veth peer name veth0 netns $second
address=1
for host in $first $second; do
  ip -n $host address add 10.77.0.$address/24 dev veth0
  ip -n $host link set veth0 up
  # The queue of netem holds what is on its way for as long as the delay and then some.
  tc -n $host qdisc add dev veth0 root netem delay "$DELAY" rate "$RATE" limit 10000 2> /dev/null || {
    echo "This kernel has no netem: the link of $host has the rate, but no delay."
    tc -n $host qdisc add dev veth0 root tbf rate "$RATE" burst 256kb latency 50ms
  }
  address=$((address + 1))
done
# The system takes a moment to see that a link is up, and until then it is none for UCX.
for host in $first $second; do
  until ip -n $host link show dev veth0 | grep -q 'state UP'; do sleep 0.1; done
done

# Runs a command on a host: with its network and name, without the first one's memory and processes, which ranks would share.
cat > "$work/on" << EOF
#!/bin/sh
name=\$1
shift
exec ip netns exec \$name unshare --uts --ipc --pid --fork --kill-child --mount-proc \\
  sh -c 'hostname \$0; exec "\$@"' \$name "\$@"
EOF
# Called as ssh is: options, a host, and a command for its shell. All of that goes to the log, where secrets must not be.
cat > "$work/ssh" << EOF
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
host=\$1
shift
echo "\$host: \$*" >> "$work/log"
case \$host in
  10.77.0.1) name=$first ;;
  10.77.0.2) name=$second ;;
  *) echo "no such host: \$host" >&2; exit 255 ;;
esac
# Of this side's variables, a host knows none.
exec "$work/on" \$name env -i HOME="\$HOME" PATH=/usr/local/bin:/usr/bin:/bin sh -c "\$*"
EOF
chmod +x "$work/on" "$work/ssh"

# A host has no other network than the link, but loopback, which implementations might try.
export UCX_NET_DEVICES=veth0 OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24
export PRTE_MCA_prte_if_include=10.77.0.0/24
# What each launcher calls for ssh.
export HYDRA_LAUNCHER=ssh HYDRA_LAUNCHER_EXEC=$work/ssh HYDRA_IFACE=veth0 OMPI_MCA_plm_rsh_agent=$work/ssh
export PRTE_MCA_plm_ssh_agent=$work/ssh
