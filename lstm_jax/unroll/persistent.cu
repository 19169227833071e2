// A persistent recurrent kernel: every block keeps its slice of the recurrent weight on the chip for all steps.
//
// lstm_jax/unroll/persistent.py writes the constants, the arguments and the cell's own arithmetic in front of and
// into this text (the places marked @...@). A block owns U units with all their gates. A step is: wait until every
// block has published its part of the source (h, or in the backward dr), multiply it by the block's slice with
// tensor cores (the warps share out K), add up the warps' partial sums, do the cell's arithmetic, publish.
//
// The product is D[m, n] += W[m, k] X[k, n] with m the block's columns, n the sequences. The order of k within 64
// bytes is free as long as W and X agree, so that a lane reads 16 bytes of X in one piece: lane 4 g + q holds the
// words 4 q .. 4 q + 3 of sequence g, which are the operands of two mma.

struct __align__(16) Quad { u32 w[4]; };
struct __align__(8) Pair { u32 w[2]; };

#define THREADS (NW * 32)
#define ROWS (MT * 16)       // columns of the block's slice, padded to whole tiles
#define STRIDE (NB8 * 8 + 1) // of partial sums, odd: no bank conflicts
#define QUAD (HALF ? 8 : 4)   // elements in 16 bytes
#define CHUNK (4 * QUAD)     // k in 64 bytes
#define CHUNKS ((K + CHUNK - 1) / CHUNK)
#define KP (CHUNKS * CHUNK)
#define PADDING (KP - K > 0 ? KP - K : 1)
#define KC ((CHUNKS + NW * CLUSTER - 1) / (NW * CLUSTER)) // chunks of a warp
#define OWN (U * COLUMNS) // rows of one block; a cluster's blocks have those of each other too, for a part of K each
#define KS (KC - KR > 0 ? KC - KR : 0) // of those, kept in shared memory; the first KR are kept in registers
#define UPPER (CLUSTER * OWN - (MT - 1) * 16 < 8 ? 0 : CLUSTER * OWN - (MT - 1) * 16 - 8) // rows past 8 of the last tile
#define AREA (RING * NB8 * 512 > (ROWS * STRIDE * 4 + 15) / 16 * 16 ? RING * NB8 * 512 : (ROWS * STRIDE * 4 + 15) / 16 * 16)
#define REST ((MT - 1) * 512 + 256 + UPPER * 32) // bytes of a warp's half chunk in shared memory
#define EPT ((B * U + THREADS - 1) / THREADS) // units of sequences a thread has

DEVICE float round_bf16(float x) { return widen(narrow(x)); }
DEVICE float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
DEVICE float get(const float *p, long i) { return p[i]; }
DEVICE float get(const u16 *p, long i) { return widen(p[i]); }
DEVICE float get(const u8 *p, long i) { return p[i] ? 1.0f : 0.0f; }
DEVICE float get(const int *p, long i) { return (float)p[i]; }
DEVICE void put(float *p, long i, float x) { p[i] = x; }
DEVICE void put(u16 *p, long i, float x) { p[i] = narrow(x); }

// As the tensor cores take a number: in one pass they cut float32 to tf32, so that it is rounded before.
DEVICE float rounded(float x) {
  return HALF || PASSES > 1 ? x : number((bits(x) + 0x1000u) & 0xffffe000u);
}

// The word of W that holds row m, from k on; zero outside.
DEVICE u32 weight_word(const ELEMENT *w, int first, int m, int k) {
  int unit = first + m / OWN * U + m % U; // first: of the cluster
  bool live = m < CLUSTER * OWN && unit < H;
#if BACKWARD
  long row = (long)unit * K, step = 1;
#else
  long row = (long)(m % OWN / U) * H + unit, step = (long)R * H;
#endif
#if HALF
  u32 low = live && k < K ? w[row + k * step] : 0;
  u32 high = live && k + 1 < K ? w[row + (k + 1) * step] : 0;
  return low | high << 16;
#else
  return live && k < K ? bits(rounded(w[row + k * step])) : 0;
#endif
}

DEVICE Quad weight_quad(const ELEMENT *w, int first, int chunk, int m, int s, int lane) {
  int g = lane >> 2, q = lane & 3, word = QUAD / 4;
  int k = chunk * CHUNK + q * QUAD + 2 * s * word;
  Quad a;
  a.w[0] = weight_word(w, first, m * 16 + g, k);
  a.w[1] = weight_word(w, first, m * 16 + g + 8, k);
  a.w[2] = weight_word(w, first, m * 16 + g, k + word);
  a.w[3] = weight_word(w, first, m * 16 + g + 8, k + word);
  return a;
}

DEVICE void multiply_tile(float *acc, const Quad &a, u32 b0, u32 b1) {
#if HALF || PASSES == 1
  mma(acc, a.w, b0, b1);
#else
  // Float32 as two tf32 each: what the rounding of one product loses, two more bring back.
  u32 high[4], low[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    u32 whole = not_hoisted(a.w[i]); // or the halves of all the slice would fill the registers
    high[i] = whole & 0xffffe000u;
    low[i] = bits(number(whole) - number(high[i]));
  }
  u32 h0 = b0 & 0xffffe000u, h1 = b1 & 0xffffe000u;
  u32 l0 = bits(number(b0) - number(h0)), l1 = bits(number(b1) - number(h1));
  mma(acc, low, h0, h1);
  mma(acc, high, l0, l1);
  mma(acc, high, h0, h1);
#endif
}

// A tile's place in shared memory. Of the last one only the rows that there are are kept: first words 0 and 2 of
// every lane, then words 1 and 3 of the lanes that have them.
DEVICE char *rest_of(char *rest, int kc, int warp, int m, int s) {
  return rest + (((kc - KR) * NW + warp) * 2 + s) * REST + m * 512;
}
DEVICE void keep_quad(char *place, const Quad &a, int m, int lane) {
  if (UPPER == 8 || m < MT - 1) {
    ((Quad *)place)[lane] = a;
  } else {
    Pair low = {{a.w[0], a.w[2]}}, high = {{a.w[1], a.w[3]}};
    ((Pair *)place)[lane] = low;
    if (lane / 4 < UPPER) ((Pair *)place)[32 + lane] = high;
  }
}
DEVICE Quad kept_quad(const char *place, int m, int lane) {
  if (UPPER == 8 || m < MT - 1) return ((const Quad *)place)[lane];
  Pair low = ((const Pair *)place)[lane], high = {{0, 0}};
  if (lane / 4 < UPPER) high = ((const Pair *)place)[32 + lane];
  Quad a = {{low.w[0], high.w[0], low.w[1], high.w[1]}};
  return a;
}

DEVICE int chunk_of(int kc, int rank, int warp) { return (kc * CLUSTER + rank) * NW + warp; }

struct Slice {
  Quad own[KR > 0 ? KR : 1][MT][2];
};

DEVICE void load_slice(Slice &slice, char *rest, const ELEMENT *w, int first, int rank, int warp, int lane) {
#pragma unroll
  for (int kc = 0; kc < KC; kc++)
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
      for (int s = 0; s < 2; s++) {
        Quad a = weight_quad(w, first, chunk_of(kc, rank, warp), m, s, lane);
        if (kc < KR)
          slice.own[kc < KR ? kc : 0][m][s] = a;
        else
          keep_quad(rest_of(rest, kc, warp, m, s), a, m, lane);
      }
}

// Asks for chunk kc of x [B, KP]: 16 bytes for each lane and 8 sequences, into slots that are the lane's own.
DEVICE void fetch(Quad *ring, const ELEMENT *x, int kc, int rank, int warp, int lane) {
  int g = lane >> 2, q = lane & 3, chunk = chunk_of(kc, rank, warp);
#pragma unroll
  for (int n = 0; n < NB8; n++) {
    int b = n * 8 + g;
    bool live = chunk < CHUNKS && b < B;
    copy_async(&ring[(kc % RING * NB8 + n) * 32 + lane],
               x + (live ? (long)b * KP + chunk * CHUNK + q * QUAD : 0), live);
  }
  copies_committed();
}

// The warp's share of the product with x [B, KP], into partial[ROWS][STRIDE].
DEVICE void multiply(const Slice &slice, char *rest, char *area, const ELEMENT *x, int rank, int warp, int lane) {
  Quad *ring = (Quad *)area;
  float *partial = (float *)area; // in the ring's place, once it is read
  int g = lane >> 2, q = lane & 3;
  float acc[MT][NB8][4];
#pragma unroll
  for (int kc = 0; kc < RING; kc++) fetch(ring, x, kc, rank, warp, lane);
#pragma unroll
  for (int m = 0; m < MT; m++)
#pragma unroll
    for (int n = 0; n < NB8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) acc[m][n][i] = 0.0f;
#pragma unroll
  for (int kc = 0; kc < KC; kc++) {
    copies_awaited(KC - 1 - kc < RING - 1 ? KC - 1 - kc : RING - 1);
    Quad v[NB8];
#pragma unroll
    for (int n = 0; n < NB8; n++) v[n] = ring[(kc % RING * NB8 + n) * 32 + lane];
#pragma unroll
    for (int s = 0; s < 2; s++)
#pragma unroll
      for (int m = 0; m < MT; m++) {
        Quad a;
        if (kc < KR)
          a = slice.own[kc < KR ? kc : 0][m][s];
        else
          a = kept_quad(rest_of(rest, kc, warp, m, s), m, lane);
#pragma unroll
        for (int n = 0; n < NB8; n++) multiply_tile(acc[m][n], a, v[n].w[2 * s], v[n].w[2 * s + 1]);
      }
    if (kc + RING < KC) fetch(ring, x, kc + RING, rank, warp, lane);
  }
  synchronize_warp();
#pragma unroll
  for (int m = 0; m < MT; m++)
#pragma unroll
    for (int n = 0; n < NB8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        partial[(m * 16 + g + (i >> 1) * 8) * STRIDE + n * 8 + 2 * q + (i & 1)] = acc[m][n][i];
}

// Row m of the block's own, sequence b: over the warps of all blocks of the cluster.
DEVICE float summed(const char *areas, int rank, int m, int b) {
  float sum = 0.0f;
#pragma unroll
  for (int other = 0; other < CLUSTER; other++)
#pragma unroll
    for (int warp = 0; warp < NW; warp++)
      sum += read_of(other, (const float *)(areas + warp * AREA) + (rank * OWN + m) * STRIDE + b);
  return sum;
}

// After the block's writes: flags[block] = value, for every other block to see. Flags only grow.
DEVICE void publish(int *flags, int block, int tid, int value) {
  synchronize();
  if (tid == 0) store_release(flags + block, value);
}

// Waits until all flags have reached value. True where they do not within LIMIT clocks, or another block gave up:
// the caller must then stop. flags[BLOCKS] says so to everyone, the host too.
DEVICE bool wait(int *flags, int tid, int value, int *dead) {
  for (int other = tid; other < BLOCKS; other += THREADS) {
    long long start = clock_now();
    for (int polls = 0; load_acquire(flags + other) < value; polls++) {
      if (polls % 256 == 255 && (clock_now() - start > LIMIT || load_acquire(flags + BLOCKS) != 0)) {
        store_release(flags + BLOCKS, 1);
        *dead = 1;
        break;
      }
    }
  }
  synchronize();
  return *dead != 0;
}

#define FOR_EACH_UNIT                                                                                              \
  _Pragma("unroll") for (int i = 0; i < EPT; i++) {                                                                \
    int e = tid + i * THREADS, b = e / U, j = e % U, unit = unit0 + j;                                             \
    bool live = e < B * U && unit < H;                                                                             \
    if (!live) continue;
#define END_EACH }
#define PRODUCT(parity)                                                                                            \
  multiply(slice, slice_rest, areas + warp * AREA, source + (long)(parity) * B * KP, rank, warp, lane); \
  synchronize_cluster();
#define AT(n, i, t) ((((long)(t) * B + b) * (n) + (i)) * H + unit) // of an array [T, B, n, H]

@FUNCTION@

KERNEL @NAME@(@ARGUMENTS@) {
  SHARED_MEMORY(memory);
  int *dead = (int *)memory;
  char *areas = memory + 16, *slice_rest = areas + NW * AREA;
  int tid = thread_index(), block = block_index(), warp = tid >> 5, lane = tid & 31, unit0 = block * U;
  int rank = block % CLUSTER;
  if (tid == 0) *dead = 0;
  Slice slice;
  load_slice(slice, slice_rest, w, unit0 - rank * U, rank, warp, lane);
  if (block == 0) // columns of the source past K: zero times W's zero must not be zero times NaN
    for (int i = tid; i < 2 * B * (KP - K); i += THREADS)
      put(source, (long)(i / PADDING) * KP + K + i % PADDING, 0.0f);
  float wt[EPT][NWT > 0 ? NWT : 1], state[EPT][NC];
  FOR_EACH_UNIT
    for (int n = 0; n < NWT; n++) wt[i][n] = weights[(long)n * H + unit];
  END_EACH
@BODY@
  if (CLUSTER > 1) synchronize_cluster(); // its shared memory is read by others until here
}
