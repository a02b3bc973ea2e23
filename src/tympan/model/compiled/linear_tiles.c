/* Linear layers in bfloat16, by AMX.
 *
 * A block is 32 rows times 32 outputs, whose sums fill four tiles. What is done with the sums of one block is
 * done between the products of the next one.
 */
#include <omp.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "activations.h"
#include "linear.h"
#include "tiles.h"

#define SIDE (2 * TILE)  /* rows and outputs of a block */
#define SHARE (2 * SIDE) /* outputs that a thread takes on at once, for some rows */
#define CACHED 400000    /* numbers of states, in bfloat16, that fit into the second cache beside others */
#define OF_LINE (64 / 8) /* 64-bit numbers in a cache line */

#if HAS_TILES

/* Whether this process may use AMX: it has to ask once. */
int32_t tympan_can_use_tiles(void) {
    enum { ASK = 0x1023, TILES = 18 };
    return syscall(SYS_arch_prctl, ASK, TILES) == 0;
}

#pragma GCC push_options
#pragma GCC target("avx512bf16,amx-tile,amx-bf16")

/* A layer: weights as tiles [out / 32, in / 32, 2, 16 pairs of inputs, 16 outputs], and biases [out]. */
typedef struct {
    const uint32_t *weights;
    const float *biases;
    int64_t n_in, n_out;
} TiledLinear;

/* Rows of bfloat16 numbers, so far apart. */
typedef struct {
    uint16_t *numbers;
    int64_t stride;
} Rows;

/* Sums of a block, and what is to be done with them: rows before `next` are done. */
typedef struct {
    const float *sums, *biases;
    const uint16_t *added;
    uint16_t *to;
    int64_t added_stride, to_stride, next;
} Block;

ALWAYS_INLINE void finish_row(Block *block, const int64_t then) {
    int64_t row = block->next++;
    Floats first = load(block->sums + row * SIDE) + load(block->biases);
    Floats second = load(block->sums + row * SIDE + TILE) + load(block->biases + TILE);
    if (then == ADD) {
        first += of_narrow(block->added + row * block->added_stride);
        second += of_narrow(block->added + row * block->added_stride + TILE);
    } else if (then != STORE) {
        first = activate(first, then);
        second = activate(second, then);
    }
    _mm512_storeu_si512(block->to + row * block->to_stride, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

ALWAYS_INLINE void finish(Block *block, const int64_t then) {
    while (block->next < SIDE) finish_row(block, then);
}

/* Sums [32, 32] of 32 rows of states and the weights of 32 outputs; meanwhile `before` is finished. */
ALWAYS_INLINE void sum_block(const uint16_t *states, int64_t stride, const uint32_t *weights, int64_t n_in,
                             float *sums, Block *before, const int64_t then) {
    int64_t n_steps = n_in / PAIR, n_each = (SIDE + n_steps - 1) / n_steps;
    ALL_IS_WRITTEN;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < n_steps; step++) {
        const uint16_t *here = states + step * PAIR;
        const uint32_t *tiles = weights + step * 2 * TILE * TILE;
        _tile_loadd(4, here, 2 * stride);
        _tile_loadd(6, tiles, 4 * TILE);
        _tile_dpbf16ps(0, 4, 6);
        if (before->next < SIDE) finish_row(before, then);
        _tile_loadd(7, tiles + TILE * TILE, 4 * TILE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_zero(4);
        _tile_loadd(5, here + TILE * stride, 2 * stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_zero(6);
        for (int64_t i = 1; i < n_each && before->next < SIDE; i++) finish_row(before, then);
        _tile_dpbf16ps(3, 5, 7);
        _tile_zero(5);
        _tile_zero(7);
    }
    _tile_stored(0, sums, 4 * SIDE);
    _tile_stored(1, sums + TILE, 4 * SIDE);
    _tile_stored(2, sums + TILE * SIDE, 4 * SIDE);
    _tile_stored(3, sums + TILE * SIDE + TILE, 4 * SIDE);
    ALL_IS_WRITTEN;
}

/* What a thread does: it takes outputs for the rows of its own range, and then for those of others, as one
 * thread may be several times as fast as another. `taken` [threads, OF_LINE] says how far each range is.
 *
 * All outputs are made for as many rows as the second cache holds before the next rows are read. */
ALWAYS_INLINE void multiply(const TiledLinear *layer, int64_t n_rows, Rows states, Rows added, Rows to,
                            int64_t *taken, const int64_t then) {
    float sums[2][SIDE * SIDE] __attribute__((aligned(64)));
    int64_t turn = 0, n_threads = omp_get_num_threads(), n_blocks = (n_rows + SIDE - 1) / SIDE;
    int64_t n_shares = (layer->n_out + SHARE - 1) / SHARE;
    int64_t n_at_once = CACHED / (SIDE * layer->n_in) > 0 ? CACHED / (SIDE * layer->n_in) : 1;
    Block before = {.next = SIDE};
    for (int64_t i = 0; i < n_threads; i++) {
        int64_t range = (omp_get_thread_num() + i) % n_threads;
        int64_t first = n_blocks * range / n_threads, end = n_blocks * (range + 1) / n_threads;
        int64_t n_chunks = (end - first + n_at_once - 1) / n_at_once, item;
        while ((item = __atomic_fetch_add(taken + range * OF_LINE, 1, __ATOMIC_RELAXED)) <
               n_chunks * n_shares) {
            int64_t from = first + item / n_shares * n_at_once, until = from + n_at_once;
            if (until > end) until = end;
            int64_t output = item % n_shares * SHARE, last = output + SHARE;
            for (; output < layer->n_out && output < last; output += SIDE)
                for (int64_t block = from; block < until; block++) {
                    /* the last block is a whole one too, and begins before its rows do */
                    int64_t row = block * SIDE < n_rows - SIDE ? block * SIDE : n_rows - SIDE;
                    sum_block(states.numbers + row * states.stride, states.stride,
                              layer->weights + output * layer->n_in / 2, layer->n_in, sums[turn], &before,
                              then);
                    finish(&before, then);
                    before = (Block){sums[turn],
                                     layer->biases + output,
                                     then == ADD ? added.numbers + row * added.stride + output : NULL,
                                     to.numbers + row * to.stride + output,
                                     added.stride,
                                     to.stride,
                                     block * SIDE - row};
                    turn = !turn;
                }
        }
    }
    finish(&before, then);
}

/* What a layer makes of at least 32 rows of states, activated, or with `added`, or neither, as `then` says.
 */
void tympan_multiply_tiles(const TiledLinear *layer, int64_t n_rows, const Rows *states, const Rows *added,
                           const Rows *to, int64_t then, int32_t n_threads) {
    int64_t taken[n_threads * OF_LINE];
    memset(taken, 0, sizeof taken);
#pragma omp parallel num_threads(n_threads)
    {
        Configuration before; /* of whoever else uses tiles in this thread */
        _tile_storeconfig(&before);
        configure_tiles();
        switch (then) {
            case STORE:
                multiply(layer, n_rows, *states, *added, *to, taken, STORE);
                break;
            case ADD:
                multiply(layer, n_rows, *states, *added, *to, taken, ADD);
                break;
            case GELU:
                multiply(layer, n_rows, *states, *added, *to, taken, GELU);
                break;
            default:
                multiply(layer, n_rows, *states, *added, *to, taken, then);
        }
        _tile_loadconfig(&before);
    }
}

/* What a norm makes of rows of states, of a multiple of 16 each. */
void tympan_normalise_narrow(const float *weight, const float *bias, float epsilon, int64_t width,
                             int64_t n_rows, const Rows *states, const Rows *to, int32_t n_threads) {
    Norm norm = {weight, bias};
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t row = 0; row < n_rows; row++) {
        float exact[width], normed[width];
        const uint16_t *from = states->numbers + row * states->stride;
        for (int64_t i = 0; i < width; i += LANES) store(exact + i, of_narrow(from + i));
        normalise(exact, norm, epsilon, width, normed);
        for (int64_t i = 0; i < width; i += LANES)
            _mm256_storeu_si256((__m256i *)(to->numbers + row * to->stride + i),
                                (__m256i)_mm512_cvtneps_pbh(load(normed + i)));
    }
}

/* Weights [out, in] in bfloat16 in the order in which they are read. */
void tympan_pack_tiles(const uint16_t *weights, int64_t n_out, int64_t n_in, uint32_t *tiles) {
    for (int64_t output = 0; output < n_out; output++)
        for (int64_t i = 0; i < n_in; i += 2) {
            int64_t tile = (output / SIDE * (n_in / PAIR) + i / PAIR) * 2 + output % SIDE / TILE;
            memcpy(tiles + (tile * TILE + i % PAIR / 2) * TILE + output % TILE, weights + output * n_in + i,
                   sizeof *tiles);
        }
}

#pragma GCC pop_options

#else

int32_t tympan_can_use_tiles(void) { return 0; }

#endif
