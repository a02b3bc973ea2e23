/* Attention of bfloat16 queries to all of the keys and values, by AMX: what PyTorch's fused kernel does, in
 * half its time. Scores are float32; shares are rounded to bfloat16 before they are summed up.
 *
 * Shapes: N rows, H heads of 64 channels, as in every Whisper, T queries, S positions. A block of 32 queries
 * sees the positions in chunks, whose scores a processor's nearest caches hold, and takes off the largest
 * score so far as it goes (Dao et al. 2022, "FlashAttention").
 */
#include <immintrin.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heads.h"

#define TILE 16 /* rows of a tile, and float32 numbers or pairs of bfloat16 ones in each */
#define QUERIES (2 * TILE)
#define WIDTH 64  /* channels of a head */
#define CHUNK 256 /* positions */
/* Numbers from one query's to the next one's, so that rows of a tile lie in different sets of a cache. */
#define SCORES (CHUNK + 16)
#define SHARES (CHUNK + 32)
#define PAIR (2 * TILE) /* bfloat16 numbers in a row of a tile */
#define NEVER -1e30f    /* a score that leaves no share */

#if defined(__AVX512F__) && !defined(__clang__) && __GNUC__ >= 11

/* Whether this process may use AMX: it has to ask once. */
int32_t tympan_can_use_tiles(void) {
    enum { ASK = 0x1023, TILES = 18 };
    return syscall(SYS_arch_prctl, ASK, TILES) == 0;
}

#pragma GCC push_options
#pragma GCC target("avx512vbmi,avx512bf16,amx-tile,amx-bf16")

/* GCC does not know that loading a tile reads memory. */
#define ALL_IS_WRITTEN __asm__ volatile("" ::: "memory")

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} __attribute__((packed)) Configuration;

static void configure(void) {
    Configuration tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.row_bytes[i] = 4 * TILE, tiles.rows[i] = TILE;
    _tile_loadconfig(&tiles);
}

/* The seven bits behind the leading one of a bfloat16 number, for each seven bits behind the point of its
 * logarithm. */
typedef struct {
    __m512i low, high;
} Powers;

static Powers powers_of_two(void) {
    uint8_t bits[128];
    for (int i = 0; i < 128; i++) bits[i] = (uint8_t)lrintf(128.0f * (exp2f(i / 128.0f) - 1.0f));
    return (Powers){_mm512_loadu_si512(bits), _mm512_loadu_si512(bits + 64)};
}

/* Which of 32 numbers `narrow` puts at `place`. */
static inline int64_t number_at(int64_t place) { return place % 8 / 4 * 16 + place / 8 * 4 + place % 4; }

/* 2 to the power of 32 numbers x, given as 128 * (x + 127), in bfloat16: 0 for those below -127.
 *
 * Rounded to whole numbers, these have the exponents where bfloat16 has them, and seven bits of the logarithm
 * where the bits behind the leading one belong, which a table turns into these. */
static inline __m512i narrow(__m512 first, __m512 second, Powers powers) {
    __m512i bits = _mm512_packus_epi32(_mm512_cvtps_epi32(first), _mm512_cvtps_epi32(second));
    __m512i behind_leading = _mm512_permutex2var_epi8(powers.low, bits, powers.high);
    return _mm512_ternarylogic_epi32(bits, behind_leading, _mm512_set1_epi16(0x7f),
                                     0xd8 /* where there is a one, the second */);
}

/* Keys of a head as tiles [S / 16, 2, 16 pairs of channels, 16 keys]; none behind the last one. */
static void pack_keys(const uint16_t *keys, int64_t stride, int64_t n_keys, int64_t n_padded,
                      uint32_t *tiles) {
    for (int64_t key = 0; key < n_padded; key++) {
        uint32_t *place = tiles + key / TILE * TILE * (WIDTH / 2) + key % TILE;
        for (int64_t pair = 0; pair < WIDTH / 2; pair++) {
            uint32_t two = 0;
            if (key < n_keys) memcpy(&two, keys + key * stride + 2 * pair, sizeof two);
            place[pair * TILE] = two;
        }
    }
}

/* Values of a head as tiles [S / 32, 4, 16 pairs of positions, 16 channels], positions where `narrow` puts
 * them. */
static void pack_values(const uint16_t *values, int64_t stride, int64_t n_keys, int64_t n_padded,
                        uint32_t *tiles) {
    for (int64_t pair = 0; pair < n_padded / 2; pair++) {
        uint32_t *place = tiles + pair / TILE * TILE * WIDTH + pair % TILE * TILE;
        int64_t position = pair / TILE * PAIR + number_at(2 * (pair % TILE));
        for (int64_t channel = 0; channel < WIDTH; channel += TILE) {
            __m512i two[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
            for (int i = 0; i < 2 && position + i < n_keys; i++)
                two[i] = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256((const __m256i *)(values + (position + i) * stride + channel)));
            _mm512_storeu_si512(place + channel * TILE,
                                _mm512_or_si512(two[0], _mm512_slli_epi32(two[1], 16)));
        }
    }
}

/* What a thread keeps while it looks at a block of queries. */
typedef struct {
    float scores[QUERIES * SCORES];
    uint16_t shares[QUERIES * SHARES];
    float largest[QUERIES], sums[QUERIES];
} Room;

/* Scores of the queries [32, 64] at `n_keys` keys, a multiple of 32. */
static void score(const uint16_t *queries, const uint32_t *keys, int64_t n_keys, float *scores) {
    int64_t of_key_tile = TILE * (WIDTH / 2);
    ALL_IS_WRITTEN;
    _tile_loadd(4, queries, 2 * WIDTH);
    _tile_loadd(5, queries + TILE * WIDTH, 2 * WIDTH);
    _tile_loadd(6, queries + PAIR, 2 * WIDTH);
    _tile_loadd(7, queries + TILE * WIDTH + PAIR, 2 * WIDTH);
    for (int64_t key = 0; key < n_keys; key += TILE) {
        const uint32_t *tiles = keys + key / TILE * of_key_tile;
        _tile_zero(0);
        _tile_zero(1);
        _tile_loadd(2, tiles, 4 * TILE);
        _tile_dpbf16ps(0, 4, 2);
        _tile_dpbf16ps(1, 5, 2);
        _tile_loadd(3, tiles + TILE * TILE, 4 * TILE);
        _tile_dpbf16ps(0, 6, 3);
        _tile_dpbf16ps(1, 7, 3);
        _tile_stored(0, scores + key, 4 * SCORES);
        _tile_stored(1, scores + TILE * SCORES + key, 4 * SCORES);
    }
}

/* Shares of one query, not yet divided by their sum, of the first `n_keys` in a chunk; 0 up to `n_padded`.
 * What was `heard` [64] before is brought down where a score is larger than all before it. */
static inline void share(Room *room, int64_t query, int64_t n_keys, int64_t n_padded, float factor,
                         Powers powers, float *heard) {
    float *scores = room->scores + query * SCORES;
    uint16_t *shares = room->shares + query * SHARES;
    for (int64_t key = n_keys; key < n_padded; key++) scores[key] = NEVER;
    __m512 most = _mm512_loadu_ps(scores), other = _mm512_loadu_ps(scores + TILE);
    for (int64_t key = PAIR; key < n_padded; key += PAIR) {
        most = _mm512_max_ps(most, _mm512_loadu_ps(scores + key));
        other = _mm512_max_ps(other, _mm512_loadu_ps(scores + key + TILE));
    }
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(most, other)) * factor; /* a power of two */
    if (largest > room->largest[query]) {
        float smaller = exp2f(room->largest[query] - largest);
        room->sums[query] *= smaller;
        for (int64_t channel = 0; channel < WIDTH; channel += TILE)
            _mm512_storeu_ps(heard + channel,
                             _mm512_mul_ps(_mm512_loadu_ps(heard + channel), _mm512_set1_ps(smaller)));
        room->largest[query] = largest;
    }
    __m512 factors = _mm512_set1_ps(128.0f * factor);
    __m512 shift = _mm512_set1_ps(128.0f * (127.0f - room->largest[query]));
    __m512 total = _mm512_setzero_ps(), ones = (__m512)_mm512_set1_epi16(0x3f80);
    for (int64_t key = 0; key < n_padded; key += PAIR) {
        __m512 first = _mm512_fmadd_ps(_mm512_loadu_ps(scores + key), factors, shift);
        __m512 second = _mm512_fmadd_ps(_mm512_loadu_ps(scores + key + TILE), factors, shift);
        __m512i both = narrow(first, second, powers);
        total = _mm512_dpbf16_ps(total, (__m512bh)both, (__m512bh)ones);
        _mm512_storeu_si512(shares + key, both);
    }
    room->sums[query] += _mm512_reduce_add_ps(total);
}

/* Add to what was `heard` [32, 64] the values of `n_keys` positions by their shares. */
static void hear(const uint16_t *shares, const uint32_t *values, int64_t n_keys, float *heard) {
    ALL_IS_WRITTEN;
    for (int64_t channel = 0; channel < WIDTH; channel += 2 * TILE) {
        float *to = heard + channel;
        _tile_loadd(0, to, 4 * WIDTH);
        _tile_loadd(1, to + TILE, 4 * WIDTH);
        _tile_loadd(2, to + TILE * WIDTH, 4 * WIDTH);
        _tile_loadd(3, to + TILE * WIDTH + TILE, 4 * WIDTH);
        for (int64_t key = 0; key < n_keys; key += PAIR) {
            const uint32_t *tiles = values + key / 2 * WIDTH + channel * TILE;
            _tile_loadd(4, shares + key, 2 * SHARES);
            _tile_loadd(5, shares + TILE * SHARES + key, 2 * SHARES);
            _tile_loadd(6, tiles, 4 * TILE);
            _tile_loadd(7, tiles + TILE * TILE, 4 * TILE);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, to, 4 * WIDTH);
        _tile_stored(1, to + TILE, 4 * WIDTH);
        _tile_stored(2, to + TILE * WIDTH, 4 * WIDTH);
        _tile_stored(3, to + TILE * WIDTH + TILE, 4 * WIDTH);
    }
}

/* What `n_here` queries of a head hear; `asked` and `heard` have room for 32 of them. */
static void attend_block(const uint16_t *queries, int64_t query_stride, int64_t n_here, const uint32_t *keys,
                         const uint32_t *values, int64_t n_keys, float factor, Powers powers, Room *room,
                         uint16_t *asked, float *heard, uint16_t *found, int64_t found_stride) {
    memset(asked, 0, QUERIES * WIDTH * sizeof *asked);
    memset(heard, 0, QUERIES * WIDTH * sizeof *heard);
    for (int64_t i = 0; i < n_here; i++)
        memcpy(asked + i * WIDTH, queries + i * query_stride, WIDTH * sizeof *asked);
    for (int i = 0; i < QUERIES; i++) room->largest[i] = NEVER, room->sums[i] = 0.0f;
    for (int64_t start = 0; start < n_keys; start += CHUNK) {
        int64_t n_now = n_keys - start < CHUNK ? n_keys - start : CHUNK;
        int64_t n_padded = (n_now + PAIR - 1) / PAIR * PAIR;
        score(asked, keys + start * (WIDTH / 2), n_padded, room->scores);
        for (int64_t i = 0; i < QUERIES; i++)
            share(room, i, n_now, n_padded, factor, powers, heard + i * WIDTH);
        hear(room->shares, values + start / 2 * WIDTH, n_padded, heard);
    }
    for (int64_t i = 0; i < n_here; i++)
        for (int64_t channel = 0; channel < WIDTH; channel += TILE) {
            __m512 mean =
                _mm512_div_ps(_mm512_loadu_ps(heard + i * WIDTH + channel), _mm512_set1_ps(room->sums[i]));
            _mm256_storeu_si256((__m256i *)(found + i * found_stride + channel),
                                (__m256i)_mm512_cvtneps_pbh(mean));
        }
}

static int64_t padded(int64_t n_keys) { return (n_keys + PAIR - 1) / PAIR * PAIR; }
static int64_t bytes_of_head(int64_t n_keys) { return 4 * padded(n_keys) * WIDTH; }
static int64_t bytes_of_thread(void) {
    return (int64_t)((sizeof(Room) + QUERIES * WIDTH * 6 + 63) / 64 * 64);
}

/* Bytes of memory that `tympan_attend_tiles` wants. */
int64_t tympan_attend_tiles_bytes(int64_t n_heads, int64_t n_keys, int32_t n_threads) {
    return n_heads * bytes_of_head(n_keys) + n_threads * bytes_of_thread();
}

/* `found` of `queries` at all of `keys`, of which scores are multiplied by `factor`. */
void tympan_attend_tiles(const Heads *queries, const Heads *keys, const Heads *values, const Heads *found,
                         int64_t n_rows, int64_t n_heads, int64_t n_queries, int64_t n_keys, float factor,
                         char *memory, int32_t n_threads) {
    int64_t n_blocks = (n_queries + QUERIES - 1) / QUERIES, head_bytes = bytes_of_head(n_keys);
    float in_powers = factor * 1.44269504f; /* of two */
#pragma omp parallel num_threads(n_threads)
    {
        char *own = memory + n_heads * head_bytes + omp_get_thread_num() * bytes_of_thread();
        Room *room = (Room *)own;
        float *heard = (float *)(own + sizeof(Room));
        uint16_t *asked = (uint16_t *)(heard + QUERIES * WIDTH);
        Powers powers = powers_of_two();
        Configuration before; /* of whoever else uses tiles in this thread */
        _tile_storeconfig(&before);
        configure();
        for (int64_t row = 0; row < n_rows; row++) {
#pragma omp for schedule(static)
            for (int64_t head = 0; head < n_heads; head++) {
                uint32_t *tiles = (uint32_t *)(memory + head * head_bytes);
                int64_t n_padded = padded(n_keys);
                pack_keys((const uint16_t *)keys->numbers + start_of_head(keys, row, head),
                          keys->position_stride, n_keys, n_padded, tiles);
                pack_values((const uint16_t *)values->numbers + start_of_head(values, row, head),
                            values->position_stride, n_keys, n_padded, tiles + n_padded * WIDTH / 2);
            }
#pragma omp for schedule(static)
            for (int64_t item = 0; item < n_heads * n_blocks; item++) {
                int64_t head = item / n_blocks, first = item % n_blocks * QUERIES;
                const uint32_t *tiles = (const uint32_t *)(memory + head * head_bytes);
                attend_block(
                    (const uint16_t *)queries->numbers + start_of_head(queries, row, head) +
                        first * queries->position_stride,
                    queries->position_stride, n_queries - first < QUERIES ? n_queries - first : QUERIES,
                    tiles, tiles + padded(n_keys) * WIDTH / 2, n_keys, in_powers, powers, room, asked, heard,
                    (uint16_t *)found->numbers + start_of_head(found, row, head) +
                        first * found->position_stride,
                    found->position_stride);
            }
        }
        _tile_loadconfig(&before);
    }
}

#pragma GCC pop_options

#else

int32_t tympan_can_use_tiles(void) { return 0; }

#endif
