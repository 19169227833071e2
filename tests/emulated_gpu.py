"""The fused kernels' own text on a CPU: every CUDA thread a fiber, every block there, mma by its definition.

What it does not see: the compiler for the device, memory ordering, speed.
"""

import ctypes
import functools
import pathlib
import shutil
import subprocess
import tempfile

import jax
import numpy as np

from lstm_jax.unroll import persistent

COMPILER = shutil.which("g++")

INCLUDES = r"""
#include <ucontext.h>
#include <cmath>
#include <cstdlib>
#include <cstring>
"""

PRELUDE = r"""
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
#define __align__(n) __attribute__((aligned(n)))
#define LIMIT 20000000LL
#define DEVICE static inline
#define KERNEL static void
#define INF_F HUGE_VALF
#define NAN_F NAN
struct Quad;
static const int fibers_a_block = NW * 32, all_fibers = BLOCKS * NW * 32;
struct Fiber { ucontext_t context; char *stack; bool done; };
static Fiber *fibers;
static ucontext_t scheduler;
static int now, arrived[BLOCKS], generation[BLOCKS], warp_arrived[BLOCKS * NW], warp_generation[BLOCKS * NW];
static char *block_memory;
static u32 warp_a[BLOCKS * NW][32][4], warp_b[BLOCKS * NW][32][2];
static long long ticks;
static void yield() { ticks++; swapcontext(&fibers[now].context, &scheduler); }
static void meet(int *count, int *round, int all) {
  int mine = *round;
  if (++*count == all) { *count = 0; ++*round; return; }
  while (*round == mine) yield();
}
static u32 bits(float x) { u32 b; memcpy(&b, &x, 4); return b; }
static float number(u32 b) { float x; memcpy(&x, &b, 4); return x; }
static float widen(u16 x) { return number((u32)x << 16); }
static u16 narrow(float x) {
  u32 b = bits(x);
  return (b & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : (u16)((b + 0x7fffu + (b >> 16 & 1u)) >> 16);
}
static int thread_index() { return now % fibers_a_block; }
static int block_index() { return now / fibers_a_block; }
static void synchronize() { meet(&arrived[block_index()], &generation[block_index()], fibers_a_block); }
static int together[BLOCKS], together_round[BLOCKS];
static void synchronize_cluster() {
  int first = block_index() / CLUSTER;
  meet(&together[first], &together_round[first], fibers_a_block * CLUSTER);
}
static float read_of(int other, const float *p) {
  return *(const float *)((const char *)p + (long)(other - block_index() % CLUSTER) * SHARED_BYTES);
}
static void synchronize_warp() { meet(&warp_arrived[now / 32], &warp_generation[now / 32], 32); }
static long long clock_now() { return ticks; }
static void store_release(int *p, int value) { *p = value; }
static int load_acquire(const int *p) { yield(); return *(volatile const int *)p; }
static u32 not_hoisted(u32 x) { return x; }
template <typename Q, typename P> static void copy_async(Q *to, const P *from, bool live) {
  if (live) memcpy(to, from, 16); else memset(to, 0, 16);
}
static void copies_committed() {}
static void copies_awaited(int) {}
#define SHARED_MEMORY(name) char *name = block_memory + (long)block_index() * SHARED_BYTES
// D[m, n] += A[m, k] B[k, n], by the layouts of PTX: lane 4 g + q.
static void mma(float *d, const u32 *a, u32 b0, u32 b1) {
  int w = now / 32, lane = now % 32, g = lane / 4, q = lane % 4;
  memcpy(warp_a[w][lane], a, 16);
  warp_b[w][lane][0] = b0;
  warp_b[w][lane][1] = b1;
  meet(&warp_arrived[w], &warp_generation[w], 32);
  for (int i = 0; i < 4; i++) {
    int row = g + (i >> 1) * 8, column = 2 * q + (i & 1);
    for (int p = 0; p < 4; p++)
      for (int half = 0; half < 2; half++) {
        u32 x = warp_a[w][(row % 8) * 4 + p][half * 2 + row / 8], y = warp_b[w][column * 4 + p][half];
#if HALF
        d[i] += widen((u16)x) * widen((u16)y) + widen((u16)(x >> 16)) * widen((u16)(y >> 16));
#else
        d[i] += number(x & 0xffffe000u) * number(y & 0xffffe000u);
#endif
      }
  }
  meet(&warp_arrived[w], &warp_generation[w], 32);
}
"""

EPILOGUE = r"""
static void **given;
static void call() { CALL; fibers[now].done = true; swapcontext(&fibers[now].context, &scheduler); }
extern "C" void start(void **arguments) {
  given = arguments;
  const long stack = 65536;
  block_memory = (char *)malloc((long)BLOCKS * SHARED_BYTES);
  memset(block_memory, 0xff, (long)BLOCKS * SHARED_BYTES);
  fibers = (Fiber *)calloc(all_fibers, sizeof(Fiber));
  memset(arrived, 0, sizeof arrived);
  memset(warp_arrived, 0, sizeof warp_arrived);
  for (int n = 0; n < all_fibers; n++) {
    fibers[n].stack = (char *)malloc(stack);
    getcontext(&fibers[n].context);
    fibers[n].context.uc_stack.ss_sp = fibers[n].stack;
    fibers[n].context.uc_stack.ss_size = stack;
    makecontext(&fibers[n].context, call, 0);
  }
  for (int left = all_fibers; left > 0;) {
    left = 0;
    for (now = 0; now < all_fibers; now++)
      if (!fibers[now].done) { left++; swapcontext(&scheduler, &fibers[now].context); }
  }
  for (int n = 0; n < all_fibers; n++) free(fibers[n].stack);
  free(fibers);
  free(block_memory);
}
"""


@functools.cache
def built(kernel):
    """The kernel as a function of the CPU."""
    types = [persistent.C_TYPES[np.dtype(a.dtype).name] for a in kernel.inputs] + ["int"]
    types += [persistent.C_TYPES[np.dtype(a.dtype).name] for a in kernel.outputs] + ["int"]
    call = f"{kernel.name}({', '.join(f'({t} *)given[{n}]' for n, t in enumerate(types))})"
    text = kernel.text.replace("@PRELUDE@", f"#define SHARED_BYTES {kernel.shared_bytes}\n" + PRELUDE)
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "kernel.cc").write_text(INCLUDES + text + EPILOGUE.replace("CALL", call))
    command = [COMPILER, "-O1", "-w", "-shared", "-fPIC", "-std=c++17", "kernel.cc", "-o", "kernel.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return ctypes.CDLL(str(folder / "kernel.so")).start


def launch(kernel, arrays):
    """In the place of `persistent.launch`."""
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in kernel.outputs]
    assert [(a.shape, np.dtype(a.dtype)) for a in kernel.inputs] == [(x.shape, x.dtype) for x in arrays]

    def run(*given):
        given = [np.ascontiguousarray(x) for x in given] + [np.zeros(kernel.blocks + 1, np.int32)]
        outs = []
        for shape in shapes:
            bad = (
                np.full(shape.shape, 0xFF, np.uint8) if shape.dtype == bool else np.full(shape.shape, np.nan)
            )
            outs.append(bad.astype(shape.dtype))
        outs.append(np.zeros(kernel.blocks + 1, np.int32))
        buffers = [*given, *outs]
        built(kernel)((ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers)))
        assert outs[-1][-1] == 0, "the blocks did not meet"
        return outs[:-1]

    return list(jax.pure_callback(run, shapes, *arrays, vmap_method="sequential"))
