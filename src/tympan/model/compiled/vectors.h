/* Vectors of float32 and of whole numbers, and what is done with them, for AVX512 with VNNI and for AVX2,
 * with the VNNI of its own or without. */
#ifndef TYMPAN_VECTORS_H
#define TYMPAN_VECTORS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512VNNI__)

#define LANES 16
#define MOST_LEVELS 255 /* the largest byte that states are rounded to */

typedef __m512 Floats;
typedef __m512i Ints;

static inline Floats all(float number) { return _mm512_set1_ps(number); }
static inline Floats load(const float *from) { return _mm512_loadu_ps(from); }
static inline void store(float *to, Floats numbers) { _mm512_storeu_ps(to, numbers); }
static inline Floats load_first(const float *from, int64_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1 << n) - 1), from);
}
static inline void store_first(float *to, Floats numbers, int64_t n) {
    _mm512_mask_storeu_ps(to, (__mmask16)((1 << n) - 1), numbers);
}
static inline void store_last(float *to, Floats numbers, int64_t n) {
    _mm512_mask_storeu_ps(to, (__mmask16)(0xffff << (LANES - n)), numbers);
}
static inline float sum(Floats numbers) { return _mm512_reduce_add_ps(numbers); }
static inline float largest(Floats numbers) { return _mm512_reduce_max_ps(numbers); }
static inline float smallest(Floats numbers) { return _mm512_reduce_min_ps(numbers); }
static inline Floats larger(Floats one, Floats other) { return _mm512_max_ps(one, other); }
static inline Floats smaller(Floats one, Floats other) { return _mm512_min_ps(one, other); }
static inline Floats size(Floats numbers) { return _mm512_abs_ps(numbers); }
static inline Floats nearest_whole(Floats numbers) {
    return _mm512_roundscale_ps(numbers, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* `numbers` times 2 to the power of `whole`, which is at least -126. */
static inline Floats doubled(Floats numbers, Floats whole) { return _mm512_scalef_ps(numbers, whole); }
static inline Floats where_negative(Floats numbers, Floats then, Floats otherwise) {
    return _mm512_mask_blend_ps(_mm512_cmplt_ps_mask(numbers, _mm512_setzero_ps()), otherwise, then);
}

static inline Floats of_bytes(const uint8_t *from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)));
}
static inline Floats of_halves(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}
/* Numbers in bfloat16, the upper half of float32. */
static inline Floats of_narrow(const uint16_t *from) {
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
}
/* The nearest whole numbers, `shift` more, as bytes from 0 to `most`. */
static inline void store_bytes(uint8_t *to, Floats numbers, int32_t shift, int32_t most) {
    Ints whole = _mm512_add_epi32(_mm512_cvtps_epi32(numbers), _mm512_set1_epi32(shift));
    whole = _mm512_min_epi32(whole, _mm512_set1_epi32(most));
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512())));
}

static inline Ints no_ints(void) { return _mm512_setzero_si512(); }
static inline Ints load_ints(const void *from) { return _mm512_loadu_si512(from); }
static inline Ints add_ints(Ints one, Ints other) { return _mm512_add_epi32(one, other); }
static inline Floats of_ints(Ints numbers) { return _mm512_cvtepi32_ps(numbers); }
/* `sums` less `factor` times `numbers`. */
static inline Ints less(Ints sums, Ints numbers, int32_t factor) {
    return _mm512_sub_epi32(sums, _mm512_mullo_epi32(numbers, _mm512_set1_epi32(factor)));
}
/* `sums`, each with four products more: of its own four `weights` and the same four bytes. */
static inline Ints add_products(Ints sums, const uint8_t *bytes, Ints weights) {
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(four), weights);
}

static inline Ints all_ints(int32_t number) { return _mm512_set1_epi32(number); }
static inline void store_ints(void *to, Ints numbers) { _mm512_storeu_si512(to, numbers); }
static inline Ints larger_ints(Ints one, Ints other) { return _mm512_max_epi32(one, other); }
static inline Ints nearest_ints(Floats numbers) { return _mm512_cvtps_epi32(numbers); }
static inline Ints first_ints(Ints numbers, int64_t n) {
    return _mm512_maskz_mov_epi32((__mmask16)(n > 0 ? (1 << n) - 1 : 0), numbers);
}
/* Numbers of 16 bits. */
static inline void store_shorts(int16_t *to, Ints numbers) {
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(numbers));
}
/* The nearest whole numbers of 16 bits, each with the one of `second` in its upper half. */
static inline Ints pairs_of(Floats first, Floats second) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, nearest_ints(first),
                                   _mm512_slli_epi32(nearest_ints(second), 16));
}
/* `sums`, each with two products more, of the 16 bits in either half. */
static inline Ints add_pairs(Ints sums, Ints pairs, Ints others) {
    return _mm512_dpwssd_epi32(sums, pairs, others);
}
/* `numbers` times 2 to the power of the whole number that `to_whole` is 1.5 * 2^23 more than. */
static inline Floats times_power(Floats numbers, Floats to_whole) {
    return (Floats)_mm512_add_epi32((Ints)numbers, _mm512_slli_epi32((Ints)to_whole, 23));
}

#elif defined(__AVX2__)

#define LANES 8
#if defined(__AVXVNNI__)
#define MOST_LEVELS 255
#else
#define MOST_LEVELS 127 /* pairs of products are summed in 16 bits, which larger ones would overflow */
#endif

typedef __m256 Floats;
typedef __m256i Ints;

static inline Ints first_lanes(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline Floats all(float number) { return _mm256_set1_ps(number); }
static inline Floats load(const float *from) { return _mm256_loadu_ps(from); }
static inline void store(float *to, Floats numbers) { _mm256_storeu_ps(to, numbers); }
static inline Floats load_first(const float *from, int64_t n) {
    return _mm256_maskload_ps(from, first_lanes(n));
}
static inline void store_first(float *to, Floats numbers, int64_t n) {
    _mm256_maskstore_ps(to, first_lanes(n), numbers);
}
static inline void store_last(float *to, Floats numbers, int64_t n) {
    _mm256_maskstore_ps(to, _mm256_xor_si256(first_lanes(LANES - n), _mm256_set1_epi32(-1)), numbers);
}
static inline float sum(Floats numbers) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps(numbers, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float largest(Floats numbers) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps(numbers, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
static inline float smallest(Floats numbers) { return -largest(-numbers); }
static inline Floats larger(Floats one, Floats other) { return _mm256_max_ps(one, other); }
static inline Floats smaller(Floats one, Floats other) { return _mm256_min_ps(one, other); }
static inline Floats size(Floats numbers) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), numbers); }
static inline Floats nearest_whole(Floats numbers) {
    return _mm256_round_ps(numbers, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline Floats doubled(Floats numbers, Floats whole) {
    Ints exponents = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return numbers * _mm256_castsi256_ps(_mm256_slli_epi32(exponents, 23));
}
static inline Floats where_negative(Floats numbers, Floats then, Floats otherwise) {
    return _mm256_blendv_ps(otherwise, then, numbers);
}

static inline Floats of_bytes(const uint8_t *from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}
static inline Floats of_halves(const uint16_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}
static inline Floats of_narrow(const uint16_t *from) {
    return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
}
static inline void store_bytes(uint8_t *to, Floats numbers, int32_t shift, int32_t most) {
    Ints whole = _mm256_add_epi32(_mm256_cvtps_epi32(numbers), _mm256_set1_epi32(shift));
    whole = _mm256_min_epi32(whole, _mm256_set1_epi32(most));
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}

static inline Ints no_ints(void) { return _mm256_setzero_si256(); }
static inline Ints load_ints(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline Ints add_ints(Ints one, Ints other) { return _mm256_add_epi32(one, other); }
static inline Floats of_ints(Ints numbers) { return _mm256_cvtepi32_ps(numbers); }
static inline Ints less(Ints sums, Ints numbers, int32_t factor) {
    return _mm256_sub_epi32(sums, _mm256_mullo_epi32(numbers, _mm256_set1_epi32(factor)));
}
static inline Ints add_products(Ints sums, const uint8_t *bytes, Ints weights) {
    int32_t four;
    memcpy(&four, bytes, sizeof four);
#if defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(sums, _mm256_set1_epi32(four), weights);
#else
    Ints pairs = _mm256_maddubs_epi16(_mm256_set1_epi32(four), weights);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

static inline Ints all_ints(int32_t number) { return _mm256_set1_epi32(number); }
static inline void store_ints(void *to, Ints numbers) { _mm256_storeu_si256((__m256i *)to, numbers); }
static inline Ints larger_ints(Ints one, Ints other) { return _mm256_max_epi32(one, other); }
static inline Ints nearest_ints(Floats numbers) { return _mm256_cvtps_epi32(numbers); }
static inline Ints first_ints(Ints numbers, int64_t n) { return _mm256_and_si256(numbers, first_lanes(n)); }
static inline void store_shorts(int16_t *to, Ints numbers) {
    __m128i first = _mm256_castsi256_si128(numbers), second = _mm256_extracti128_si256(numbers, 1);
    _mm_storeu_si128((__m128i *)to, _mm_packs_epi32(first, second));
}
static inline Ints pairs_of(Floats first, Floats second) {
    return _mm256_blend_epi16(nearest_ints(first), _mm256_slli_epi32(nearest_ints(second), 16), 0xaa);
}
static inline Ints add_pairs(Ints sums, Ints pairs, Ints others) {
#if defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sums, pairs, others);
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, others));
#endif
}
static inline Floats times_power(Floats numbers, Floats to_whole) {
    return (Floats)_mm256_add_epi32((Ints)numbers, _mm256_slli_epi32((Ints)to_whole, 23));
}

#else
#error "neither AVX512-VNNI nor AVX2"
#endif

/* One of the two, as there are registers. */
#if defined(__AVX512VNNI__)
#define BY_REGISTERS(of_32, of_16) of_32
#else
#define BY_REGISTERS(of_32, of_16) of_16
#endif

/* 2 to the power of numbers up to 127, off by 2e-7 of itself; next to nothing for those below -90. Products
 * of what is still less would take a hundred times as long. */
static inline Floats power_of_two(Floats powers) {
    powers = larger(powers, all(-90.0f));
    Floats whole = nearest_whole(powers), rest = powers - whole;
    Floats series = rest * 0.00133908634f + 0.00967603192f; /* Chebyshev's, from -1/2 to 1/2 */
    series = series * rest + 0.0555035711f;
    series = series * rest + 0.240221075f;
    series = series * rest + 0.693147188f;
    series = series * rest + 1.00000008f;
    return doubled(series, whole);
}

/* e to the power of numbers up to 88. */
static inline Floats exponential(Floats numbers) { return power_of_two(numbers * 1.44269504f); }

/* Numbers in float32 that lie anywhere. */
static inline float number_at(const uint8_t *place) {
    float number;
    memcpy(&number, place, sizeof number);
    return number;
}

#endif
