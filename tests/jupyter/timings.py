"""Not a test: how fast the kernel is beside ipykernel, in one run. `python timings.py [ROUNDS]`

Where evcxr_jupyter is installed (its kernel is called `rust`), Rust cells are timed beside it, and a call of the session."""

import statistics
import sys
import time

from jupyter_client.kernelspec import find_kernel_specs
from jupyter_client.manager import KernelManager

CELLS = {"tunebook": "set seed=42", "python3": "seed = 42"}
RUST = {"tunebook": "%%rust\n1 + 1", "rust": "1 + 1"}
# Microseconds of a call, in the middle of a thousand.
CALLS = """%%rust
let live = session();
let mut took: Vec<f64> = (0..1000)
    .map(|_| {
        let start = std::time::Instant::now();
        live.step();
        start.elapsed().as_secs_f64() * 1e6
    })
    .collect();
took.sort_by(f64::total_cmp);
println!("{:.0} µs, nine in ten below {:.0} µs", took[500], took[900]);"""


def ready(name):
    """Seconds from the start of the process to the reply to kernel_info; the manager and a client of the kernel."""
    manager = KernelManager(kernel_name=name)
    start = time.perf_counter()
    manager.start_kernel()
    kc = manager.client()
    kc.start_channels()
    while True:
        kc.kernel_info()
        try:
            reply = kc.get_shell_msg(timeout=0.02)
        except Exception:
            continue
        if reply["msg_type"] == "kernel_info_reply":
            took = time.perf_counter() - start
            kc.wait_for_ready(timeout=60)
            return took, manager, kc


def round_trip(kc, ask):
    start = time.perf_counter()
    message_id = ask()
    while kc.get_shell_msg(timeout=30)["parent_header"]["msg_id"] != message_id:
        pass
    return time.perf_counter() - start


def main(rounds):
    found = {}
    kernels = {}
    for _ in range(rounds):
        for name in CELLS:
            took, manager, kc = ready(name)
            found.setdefault((name, "ready"), []).append(took)
            if name in kernels:
                kc.stop_channels()
                manager.shutdown_kernel(now=True)
            else:
                kernels[name] = manager, kc
    # The two in turn, so that both see the same machine.
    for _ in range(40 * rounds):
        for name, (_, kc) in kernels.items():
            found.setdefault((name, "cell"), []).append(round_trip(kc, lambda kc=kc, n=name: kc.execute(CELLS[n])))
            found.setdefault((name, "kernel_info"), []).append(round_trip(kc, kc.kernel_info))
    for manager, kc in kernels.values():
        kc.stop_channels()
        manager.shutdown_kernel(now=True)
    for what in ("ready", "cell", "kernel_info"):
        ours, theirs = (statistics.median(found[name, what]) * 1000 for name in CELLS)
        print(f"{what:12} tunebook {ours:8.2f} ms   ipykernel {theirs:8.2f} ms   ratio {ours / theirs:.2f}")


def rust(rounds):
    found = {name: [] for name in RUST}
    for number in range(rounds):
        # Afresh each round, so that no single start decides the comparison.
        names = sorted(RUST, reverse=number % 2 == 0)
        kernels = {name: ready(name)[1:] for name in names}
        for name, (_, kc) in kernels.items():
            round_trip(kc, lambda kc=kc, n=name: kc.execute(RUST[n]))
        for turn in range(10):
            # What one does after its reply must not slow the other down, nor always the same one.
            for name in names if turn % 2 == 0 else reversed(names):
                kc = kernels[name][1]
                time.sleep(0.1)
                found[name].append(round_trip(kc, lambda kc=kc, n=name: kc.execute(RUST[n])))
        if number == 0:
            said = lambda m: print("a call", m["content"]["text"], end="") if m["msg_type"] == "stream" else None
            kernels["tunebook"][1].execute_interactive(CALLS, timeout=60, output_hook=said)
        for manager, kc in kernels.values():
            kc.stop_channels()
            manager.shutdown_kernel(now=True)
    ours, theirs = (statistics.median(found[name]) * 1000 for name in RUST)
    print(f"{'Rust cell':12} tunebook {ours:8.2f} ms   evcxr     {theirs:8.2f} ms   ratio {ours / theirs:.3f}", flush=True)


if __name__ == "__main__":
    if "rust" in find_kernel_specs():
        rust(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
