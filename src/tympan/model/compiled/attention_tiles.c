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

#include "heads.h"
#include "tiles.h"

#define QUERIES (2 * TILE)
#define WIDTH 64  /* channels of a head */
#define CHUNK 256 /* positions */
/* Numbers from one query's to the next one's, so that rows of a tile lie in different sets of a cache. */
#define SCORES (CHUNK + 16)
#define SHARES (CHUNK + 32)
#define NEVER -1e30f      /* a score that leaves no share */
#define LEEWAY 32.0f      /* powers of two by which a score may exceed the reference */
#define WORK_PER_KEYS 1   /* queries whose shares are made while so many keys are multiplied */
#define WORK_PER_VALUES 1 /* and while a tile of values is */

#if HAS_TILES

#pragma GCC push_options
#pragma GCC target("avx512vbmi,avx512bf16,amx-tile,amx-bf16")

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

/* Keys of a head as tiles [S / 16, 2, 16 pairs of channels, 16 keys], zeros behind the last one. They lie an
 * even number of channels apart. */
static void pack_keys(const uint16_t *keys, int64_t stride, int64_t n_keys, int64_t n_padded,
                      uint32_t *tiles) {
    const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i of_keys = _mm512_mullo_epi32(places, _mm512_set1_epi32((int32_t)stride / 2));
    for (int64_t key = 0; key < n_padded; key += TILE) {
        int64_t n_left = n_keys - key;
        __mmask16 there = n_left >= TILE ? 0xffff : n_left > 0 ? (__mmask16)((1 << n_left) - 1) : 0;
        for (int64_t pair = 0; pair < WIDTH / 2; pair++) {
            __m512i of_all = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), there, of_keys,
                                                         keys + key * stride + 2 * pair, 4);
            _mm512_storeu_si512(tiles + key * (WIDTH / 2) + pair * TILE, of_all);
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

/* What a thread keeps while it looks at a block of queries. Scores and shares are there twice: while those of
 * a chunk are made of each other, the scores of the next one are summed up, and the shares of the one before
 * are used. */
typedef struct {
    float scores[2][QUERIES * SCORES];
    uint16_t shares[2][QUERIES * SHARES];
    float heard[QUERIES * WIDTH], sums[QUERIES * TILE];
    float references[QUERIES]; /* of which shares are so many times the power of two; close to the largest */
    float smaller[QUERIES];    /* what was heard so far is to be multiplied by it */
    uint16_t asked[QUERIES * WIDTH];
} Room;

/* Scores of a chunk that are to become shares, from query `next` on. */
typedef struct {
    Room *room;
    float *scores;
    uint16_t *shares;
    int64_t next, n_keys, n_padded;
    float factor;
    Powers powers;
} Work;

/* Shares of a query at a chunk of positions, not yet divided by their sum. */
ALWAYS_INLINE void share(Work *work, const int64_t n_padded) {
    Room *room = work->room;
    int64_t query = work->next++;
    float *scores = work->scores + query * SCORES, *sums = room->sums + query * TILE;
    uint16_t *shares = work->shares + query * SHARES;
    for (int64_t key = work->n_keys; key < n_padded; key++) scores[key] = NEVER;
    __m512 most = _mm512_loadu_ps(scores), other = _mm512_loadu_ps(scores + TILE);
    for (int64_t key = PAIR; key < n_padded; key += PAIR) {
        most = _mm512_max_ps(most, _mm512_loadu_ps(scores + key));
        other = _mm512_max_ps(other, _mm512_loadu_ps(scores + key + TILE));
    }
    most = _mm512_mul_ps(_mm512_max_ps(most, other), _mm512_set1_ps(work->factor));
    float reference = room->references[query];
    if (_mm512_cmp_ps_mask(most, _mm512_set1_ps(reference + LEEWAY), _CMP_GT_OQ)) {
        float largest = _mm512_reduce_max_ps(most), smaller = exp2f(reference - largest);
        room->references[query] = reference = largest;
        room->smaller[query] = smaller;
        _mm512_storeu_ps(sums, _mm512_mul_ps(_mm512_loadu_ps(sums), _mm512_set1_ps(smaller)));
    }
    __m512 factors = _mm512_set1_ps(128.0f * work->factor);
    __m512 shift = _mm512_set1_ps(128.0f * (127.0f - reference));
    __m512 total = _mm512_loadu_ps(sums), ones = (__m512)_mm512_set1_epi16(0x3f80);
    for (int64_t key = 0; key < n_padded; key += PAIR) {
        __m512 first = _mm512_fmadd_ps(_mm512_loadu_ps(scores + key), factors, shift);
        __m512 second = _mm512_fmadd_ps(_mm512_loadu_ps(scores + key + TILE), factors, shift);
        __m512i both = narrow(first, second, work->powers);
        total = _mm512_dpbf16_ps(total, (__m512bh)both, (__m512bh)ones);
        _mm512_storeu_si512(shares + key, both);
    }
    _mm512_storeu_ps(sums, total);
}

/* The same of up to `n` queries more. */
ALWAYS_INLINE void share_some(Work *work, int64_t n) {
    for (; n && work->next < QUERIES; n--)
        if (work->n_padded == CHUNK)
            share(work, CHUNK);
        else
            share(work, work->n_padded);
}

/* Scores of the queries [32, 64] at `n_keys` keys, a multiple of 32; meanwhile some of `work` is done. */
ALWAYS_INLINE void score(const uint16_t *queries, const uint32_t *keys, int64_t n_keys, float *scores,
                         Work *work) {
    int64_t of_key_tile = TILE * (WIDTH / 2);
    ALL_IS_WRITTEN;
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(4, queries, 2 * WIDTH);
    _tile_loadd(5, queries + TILE * WIDTH, 2 * WIDTH);
    _tile_loadd(6, queries + PAIR, 2 * WIDTH);
    _tile_loadd(7, queries + TILE * WIDTH + PAIR, 2 * WIDTH);
    for (int64_t key = 0; key < n_keys; key += TILE) {
        const uint32_t *tiles = keys + key / TILE * of_key_tile;
        _tile_loadd(2, tiles, 4 * TILE);
        _tile_dpbf16ps(0, 4, 2);
        _tile_dpbf16ps(1, 5, 2);
        _tile_zero(2);
        share_some(work, WORK_PER_KEYS);
        _tile_loadd(2, tiles + TILE * TILE, 4 * TILE);
        _tile_dpbf16ps(0, 6, 2);
        _tile_dpbf16ps(1, 7, 2);
        _tile_zero(2);
        _tile_stored(0, scores + key, 4 * SCORES);
        _tile_stored(1, scores + TILE * SCORES + key, 4 * SCORES);
        _tile_zero(0);
        _tile_zero(1);
    }
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    ALL_IS_WRITTEN;
}

/* Add to what was `heard` [32, 64] the values of `n_keys` positions by their shares; meanwhile some of `work`
 * is done. */
ALWAYS_INLINE void hear(const uint16_t *shares, const uint32_t *values, int64_t n_keys, float *heard,
                        Work *work) {
    ALL_IS_WRITTEN;
    for (int64_t channel = 0; channel < WIDTH; channel += TILE) {
        float *to = heard + channel;
        _tile_loadd(0, to, 4 * WIDTH);
        _tile_loadd(1, to + TILE * WIDTH, 4 * WIDTH);
        for (int64_t key = 0; key < n_keys; key += PAIR) {
            _tile_loadd(2, shares + key, 2 * SHARES);
            _tile_loadd(3, values + key / 2 * WIDTH + channel * TILE, 4 * TILE);
            _tile_dpbf16ps(0, 2, 3);
            _tile_zero(2);
            share_some(work, WORK_PER_VALUES);
            _tile_loadd(2, shares + TILE * SHARES + key, 2 * SHARES);
            _tile_dpbf16ps(1, 2, 3);
            _tile_zero(2);
            _tile_zero(3);
        }
        _tile_stored(0, to, 4 * WIDTH);
        _tile_stored(1, to + TILE * WIDTH, 4 * WIDTH);
        _tile_zero(0);
        _tile_zero(1);
    }
    ALL_IS_WRITTEN;
}

/* Bring down what was heard, where the references have grown since. */
static void bring_down(Room *room) {
    for (int64_t query = 0; query < QUERIES; query++) {
        if (room->smaller[query] == 1.0f) continue;
        float *heard = room->heard + query * WIDTH;
        for (int64_t channel = 0; channel < WIDTH; channel += TILE)
            _mm512_storeu_ps(heard + channel, _mm512_mul_ps(_mm512_loadu_ps(heard + channel),
                                                            _mm512_set1_ps(room->smaller[query])));
        room->smaller[query] = 1.0f;
    }
}

/* What `n_here` queries of a head hear. */
static void attend_block(const uint16_t *queries, int64_t query_stride, int64_t n_here, const uint32_t *keys,
                         const uint32_t *values, int64_t n_keys, float factor, Powers powers, Room *room,
                         uint16_t *found, int64_t found_stride) {
    memset(room->asked, 0, sizeof room->asked);
    memset(room->heard, 0, sizeof room->heard);
    memset(room->sums, 0, sizeof room->sums);
    for (int64_t i = 0; i < n_here; i++)
        memcpy(room->asked + i * WIDTH, queries + i * query_stride, WIDTH * sizeof *room->asked);
    for (int i = 0; i < QUERIES; i++) room->references[i] = NEVER, room->smaller[i] = 1.0f;
    Work work = {.room = room, .factor = factor, .powers = powers, .next = QUERIES};
    int64_t n_chunks = (n_keys + CHUNK - 1) / CHUNK, n_before = 0;
    for (int64_t chunk = -1; chunk <= n_chunks; chunk++) { /* of the one before, this one, and the next */
        int64_t n_next = n_keys - (chunk + 1) * CHUNK;
        n_next = n_next < 0 ? 0 : n_next < CHUNK ? n_next : CHUNK;
        if (chunk > 0) {
            bring_down(room);
            work.next = chunk < n_chunks ? 0 : QUERIES;
            hear(room->shares[(chunk - 1) % 2], values + (chunk - 1) * CHUNK / 2 * WIDTH, n_before,
                 room->heard, &work);
        } else if (chunk == 0)
            work.next = 0;
        if (n_next)
            score(room->asked, keys + (chunk + 1) * CHUNK * (WIDTH / 2), (n_next + PAIR - 1) / PAIR * PAIR,
                  room->scores[(chunk + 1) % 2], &work);
        share_some(&work, QUERIES);
        n_before = work.n_padded;
        work.scores = room->scores[(chunk + 1) % 2];
        work.shares = room->shares[(chunk + 1) % 2];
        work.n_keys = n_next;
        work.n_padded = (n_next + PAIR - 1) / PAIR * PAIR;
    }
    for (int64_t i = 0; i < n_here; i++) {
        __m512 total = _mm512_set1_ps(_mm512_reduce_add_ps(_mm512_loadu_ps(room->sums + i * TILE)));
        for (int64_t channel = 0; channel < WIDTH; channel += TILE) {
            __m512 mean = _mm512_div_ps(_mm512_loadu_ps(room->heard + i * WIDTH + channel), total);
            _mm256_storeu_si256((__m256i *)(found + i * found_stride + channel),
                                (__m256i)_mm512_cvtneps_pbh(mean));
        }
    }
}

static int64_t padded(int64_t n_keys) { return (n_keys + PAIR - 1) / PAIR * PAIR; }
static int64_t bytes_of_head(int64_t n_keys) { return 4 * padded(n_keys) * WIDTH; }
static int64_t bytes_of_thread(void) { return (int64_t)((sizeof(Room) + 63) / 64 * 64); }

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
        Powers powers = powers_of_two();
        Configuration before; /* of whoever else uses tiles in this thread */
        _tile_storeconfig(&before);
        configure_tiles();
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
#pragma omp for schedule(dynamic)
            for (int64_t item = 0; item < n_heads * n_blocks; item++) {
                int64_t head = item / n_blocks, first = item % n_blocks * QUERIES;
                const uint32_t *tiles = (const uint32_t *)(memory + head * head_bytes);
                attend_block((const uint16_t *)queries->numbers + start_of_head(queries, row, head) +
                                 first * queries->position_stride,
                             queries->position_stride,
                             n_queries - first < QUERIES ? n_queries - first : QUERIES, tiles,
                             tiles + padded(n_keys) * WIDTH / 2, n_keys, in_powers, powers, room,
                             (uint16_t *)found->numbers + start_of_head(found, row, head) +
                                 first * found->position_stride,
                             found->position_stride);
            }
        }
        _tile_loadconfig(&before);
    }
}

#pragma GCC pop_options

#endif
