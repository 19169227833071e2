"""The persistent kernel of persistent.cu: its constants, its text for one cell, its compilation, its launch.

The one place that knows of CUDA. `launch` is the whole interface: a `Kernel` and arrays in, arrays out. The
text is CUDA C++, compiled to PTX by NVRTC (it comes with jax[cuda13]) or nvcc, and put into the program by
XLA's own custom call for PTX, so that it sits inside jit, and in command buffers, like any other kernel.
"""

import ctypes
import functools
import importlib.util
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array
from lstm_jax.unroll.pointwise import Refused

__all__ = [
    "Argument",
    "Kernel",
    "Plan",
    "compiler",
    "cuda_text",
    "launch",
    "plan",
    "ptx",
    "source",
    "unavailable",
]

ARCHITECTURE = "sm_90"
"""What the text is compiled for: Hopper, and by PTX what comes after it."""
BLOCKS = 132
"""Streaming multiprocessors of an H100: blocks that are resident at once, one on each."""
SHARED = 227 * 1024
"""Bytes of shared memory that a block may have there."""
WARPS = 8
"""Warps in a block: 255 registers a thread, so that most of the slice can be in registers."""
CLUSTERS = (1, 1)
"""Blocks in a cluster, of the forward kernel and of the backward."""
ONE_PASS = False
"""Whether float32 is multiplied in one tf32 pass where the precision allows it. No GPU has run that yet."""
RING = 12
"""Chunks of the source that a warp has on their way at most."""
LIMIT = 2_000_000_000
"""Clocks after which a wait gives up, about a second: the outputs are then NaN, and the GPU does not hang."""

TARGET = "__gpu$xla.gpu.ptx"
"""XLA's custom call for a kernel given as PTX; internal to XLA, seen in jax 0.11.2."""

C_TYPES = {"float32": "float", "bfloat16": "u16", "bool": "u8", "int32": "int"}


class Plan(NamedTuple):
    """How a product of K rows and `columns` a unit is cut into blocks; see persistent.cu for the letters."""

    units: int
    blocks: int
    warps: int
    tiles: int
    batch_tiles: int
    in_registers: int
    ring: int
    cluster: int
    shared_bytes: int


class Argument(NamedTuple):
    """A pointer of the kernel: its name, and the shape and dtype of the array."""

    name: str
    shape: tuple[int, ...]
    dtype: Any


class Kernel(NamedTuple):
    """A kernel for given shapes.

    Attributes:
      name: of the function.
      text: the CUDA C++, without what differs between a device and the emulation in tests/.
      blocks: of the grid.
      threads: of a block.
      shared_bytes: of a block.
      inputs: the pointers that it reads.
      outputs: the pointers that it writes. The flags of the grid barrier come after them.
    """

    name: str
    text: str
    blocks: int
    threads: int
    shared_bytes: int
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]


def plan(
    *,
    hidden: int,
    batch: int,
    columns: int,
    depth: int,
    itemsize: int,
    state: int,
    cluster: int = 1,
    blocks: int = BLOCKS,
    warps: int | None = None,
    shared: int = SHARED,
) -> Plan:
    """The cut into blocks.

    Args:
      hidden: H, the units that the blocks share out.
      batch: B.
      columns: of the weight's slice, for each unit.
      depth: K, over which the product sums.
      itemsize: bytes of an element of the weight.
      state: numbers that a thread keeps for each unit and sequence of its own.
      cluster: blocks that share out K among them, each for the units of all.
      blocks: that are resident at once.
      warps: of a block; None: WARPS.
      shared: bytes of shared memory of a block.

    Raises:
      Refused: the slice does not fit on the chip.
    """
    warps = warps or WARPS
    least = -(-hidden // blocks)
    tiles = -(-(least * columns * cluster) // 16)
    batch_tiles = -(-batch // 8)
    chunks = -(-depth * itemsize // 64)
    of_a_warp = -(-chunks // (warps * cluster))
    partial = -(-tiles * 16 * (batch_tiles * 8 + 1) * 4 // 16) * 16
    # As many units as the padding of the last tile has room for; where the slice does not fit, no more than
    # due, and then with fewer registers to spare.
    full = min(tiles * 16 // (columns * cluster), hidden)
    for units, pressed in ((full, 0), (least, 0), (least, 24)):
        per_thread = -(-(batch * units) // (warps * 32))
        busy = 72 + 8 * (itemsize == 4) + 4 * (tiles + 1) * batch_tiles + per_thread * state - pressed
        if busy > 240:
            continue
        room = min(255, 65536 // (warps * 32)) - busy
        in_registers = max(0, min(of_a_warp, room // (8 * tiles)))
        upper = max(0, units * columns * cluster - (tiles - 1) * 16 - 8)
        rest = (of_a_warp - in_registers) * warps * 2 * ((tiles - 1) * 512 + 256 + upper * 32)
        left = (shared - 16 - rest) // warps  # for each warp's ring, whose place its partial sums take later
        ring = min(of_a_warp, RING, left // (batch_tiles * 512))
        if ring >= min(2, of_a_warp) and partial <= left:
            total = 16 + rest + warps * max(partial, ring * batch_tiles * 512)
            count = -(-hidden // (units * cluster)) * cluster
            if count <= blocks:
                return Plan(units, count, warps, tiles, batch_tiles, in_registers, ring, cluster, total)
    raise Refused(
        f"it cannot hold the recurrent weight on the chip: H = {hidden} at B = {batch}, {itemsize} bytes a "
        f"number, is too much for the registers and shared memory of {blocks} blocks"
    )


@functools.cache
def _text(name: str) -> str:
    """A file of CUDA C++ beside this one."""
    return (pathlib.Path(__file__).parent / name).read_text(encoding="utf-8")


def source(
    name: str,
    cut: Plan,
    constants: dict[str, int],
    function: str,
    steps: str,
    statements: dict[str, str],
    inputs: Sequence[Argument],
    outputs: Sequence[Argument],
) -> Kernel:
    """The kernel of a cell.

    Args:
      name: of the kernel.
      cut: into blocks.
      constants: by the names that persistent.cu has for them.
      function: the cell's arithmetic, a C++ function.
      steps: the file with the loop over time.
      statements: what stands there in the places marked @...@.
      inputs: pointers; "w" is the weight.
      outputs: pointers.
    """
    defines = dict(
        constants,
        U=cut.units,
        BLOCKS=cut.blocks,
        NW=cut.warps,
        MT=cut.tiles,
        NB8=cut.batch_tiles,
        KR=cut.in_registers,
        RING=cut.ring,
        CLUSTER=cut.cluster,
    )
    head = "".join(f"#define {key} {value}\n" for key, value in defines.items())
    element = next(C_TYPES[np.dtype(a.dtype).name] for a in inputs if a.name == "w")
    head += f"#define ELEMENT {element}\n#define HALF {int(element == 'u16')}\n"
    pointers = [f"const {C_TYPES[np.dtype(a.dtype).name]} *{a.name}" for a in inputs] + [
        "const int *flags_in"
    ]
    pointers += [f"{C_TYPES[np.dtype(a.dtype).name]} *{a.name}" for a in outputs] + ["int *flags"]
    text = _text("persistent.cu")
    filled = dict(FUNCTION=function, NAME=name, ARGUMENTS=", ".join(pointers), BODY=_text(steps))
    for key, value in (filled | statements).items():
        text = text.replace(f"@{key}@", value)
    return Kernel(
        name,
        head + "@PRELUDE@\n" + text,
        cut.blocks,
        cut.warps * 32,
        cut.shared_bytes,
        tuple(inputs),
        tuple(outputs),
    )


_PRELUDE = r"""
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
#define LIMIT @LIMIT@LL
#define DEVICE static __device__ __forceinline__
#if CLUSTER > 1
#define IN_CLUSTERS __cluster_dims__(CLUSTER, 1, 1)
#else
#define IN_CLUSTERS
#endif
#define KERNEL extern "C" __global__ void __launch_bounds__(NW * 32, 1) IN_CLUSTERS
#define SHARED_MEMORY(name) extern __shared__ __align__(16) char name[]
#define INF_F __int_as_float(0x7f800000)
#define NAN_F __int_as_float(0x7fc00000)
struct Quad;
DEVICE u32 bits(float x) { return __float_as_uint(x); }
DEVICE float number(u32 x) { return __uint_as_float(x); }
DEVICE float widen(u16 x) { return number((u32)x << 16); }
DEVICE u16 narrow(float x) {
  u32 b = bits(x);
  return (b & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : (u16)((b + 0x7fffu + (b >> 16 & 1u)) >> 16);
}
DEVICE void synchronize() { __syncthreads(); }
DEVICE void synchronize_warp() { __syncwarp(); }
DEVICE void synchronize_cluster() {
#if CLUSTER > 1
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}
DEVICE float read_of(int block_of_cluster, const float *p) {
#if CLUSTER > 1
  u32 there;
  float x;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there)
               : "r"((u32)__cvta_generic_to_shared(p)), "r"(block_of_cluster));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(there) : "memory");
  return x;
#else
  return *p;
#endif
}
DEVICE int thread_index() { return threadIdx.x; }
DEVICE int block_index() { return blockIdx.x; }
DEVICE long long clock_now() { return clock64(); }
DEVICE void store_release(int *p, int value) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
}
DEVICE int load_acquire(const int *p) {
  int value;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(p) : "memory");
  return value;
}
DEVICE u32 not_hoisted(u32 x) {
  asm volatile("" : "+r"(x));
  return x;
}
template <typename Q, typename P> DEVICE void copy_async(Q *to, const P *from, bool live) { // from L2
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)),
               "l"(from), "r"(live ? 16 : 0) : "memory");
}
DEVICE void copies_committed() { asm volatile("cp.async.commit_group;" ::: "memory"); }
DEVICE void copies_awaited(int left) { // a constant, once the loop around it is unrolled
  switch (left) {
@WAITS@
  }
}
DEVICE void mma(float *d, const u32 *a, u32 b0, u32 b1) {
#if HALF
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
#endif
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
"""


def cuda_text(kernel: Kernel) -> str:
    """The whole text as a CUDA compiler takes it."""
    wait = 'case {0}: asm volatile("cp.async.wait_group {0};" ::: "memory"); break;'
    waits = "\n".join("    " + wait.format(left) for left in range(RING))
    return kernel.text.replace("@PRELUDE@", _PRELUDE.replace("@LIMIT@", str(LIMIT)).replace("@WAITS@", waits))


def _nvrtc_paths() -> list[str]:
    paths = []
    for package in ("nvidia.cu13", "nvidia.cuda_nvrtc"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            paths += [str(p) for p in sorted(pathlib.Path(folder).glob("lib/libnvrtc.so*"), reverse=True)]
    return [*paths, "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]


@functools.cache
def compiler() -> Any:
    """NVRTC's library, else the path of nvcc, else None."""
    for path in _nvrtc_paths():
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    return shutil.which("nvcc") or None


@functools.cache
def ptx(text: str) -> str:
    """CUDA C++ -> PTX. Raises RuntimeError with the compiler's own words where it cannot."""
    found = compiler()
    if isinstance(found, str):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "kernel.cu"
            path.write_text(text, encoding="utf-8")
            command = [found, f"-arch={ARCHITECTURE}", "-ptx", str(path), "-o", str(path.with_suffix(".ptx"))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"nvcc refused the fused kernel: {done.stderr[:2000]}")
            return path.with_suffix(".ptx").read_text(encoding="utf-8")
    if found is None:
        raise RuntimeError(
            "neither NVRTC (pip install nvidia-cuda-nvrtc) nor nvcc is at hand for the fused kernel"
        )
    return _by_nvrtc(found, text)


def _by_nvrtc(library: Any, text: str) -> str:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None)
    options = [f"--gpu-architecture=compute_{ARCHITECTURE[3:]}".encode(), b"--std=c++17"]
    failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    wanted = "ProgramLog" if failed else "PTX"
    getattr(library, f"nvrtcGet{wanted}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{wanted}")(program, buffer)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(f"NVRTC refused the fused kernel: {buffer.value.decode()[:2000]}")
    return buffer.value.decode()


def unavailable() -> str | None:
    """Why no kernel can be compiled or run on this machine's GPU, as a clause; None where they can."""
    if compiler() is None:
        return "it needs NVRTC (pip install nvidia-cuda-nvrtc) or nvcc, and neither is at hand"
    if jax.default_backend() == "gpu":
        device = jax.devices()[0]
        if float(getattr(device, "compute_capability", "9.0")) < 9.0:
            return "it is written for Hopper GPUs (compute capability 9.0) and later"
        if int(getattr(device, "core_count", BLOCKS)) < BLOCKS:
            return f"it needs {BLOCKS} multiprocessors, and this GPU has {device.core_count}"
    return None


def launch(kernel: Kernel, arrays: Sequence[Array]) -> list[Array]:
    """Runs the kernel on the GPU, as part of the program being traced; under vmap, one after the other."""
    flags = jnp.zeros(kernel.blocks + 1, jnp.int32)
    outputs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in kernel.outputs]
    outputs.append(jax.ShapeDtypeStruct(flags.shape, flags.dtype))
    given = len(arrays) + 1
    call = jax.ffi.ffi_call(
        TARGET,
        outputs,
        input_output_aliases={given - 1: len(outputs) - 1},
        custom_call_api_version=4,
        vmap_method="sequential",
    )
    integers: dict[str, Any] = dict(
        grid_x=kernel.blocks, grid_y=1, grid_z=1, block_x=kernel.threads, block_y=1
    )
    integers |= dict(block_z=1, shared_mem_bytes=kernel.shared_bytes)
    outs = call(
        *arrays,
        flags,
        name=kernel.name,
        kernel_type="ptx",
        kernel_data=ptx(cuda_text(kernel)),
        output_indices=tuple(np.int32(given + n) for n in range(len(outputs))),
        **{key: np.int32(value) for key, value in integers.items()},
    )
    return list(outs[:-1])
