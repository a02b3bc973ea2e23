/* Vectors of float32 and of whole numbers, and what is done with them, for AVX512 with VNNI and for AVX2,
 * with the VNNI of its own or without. */
#ifndef TYMPAN_VECTORS_H
#define TYMPAN_VECTORS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static inline int16_t largest_of_eight(__m128i shorts) {
    __m128i below = _mm_sub_epi16(_mm_set1_epi16(INT16_MAX), shorts); /* without a sign */
    return (int16_t)(INT16_MAX - _mm_extract_epi16(_mm_minpos_epu16(below), 0));
}

#if defined(__AVX512VNNI__)

#define LANES 16
#define MOST_LEVELS 255 /* the largest byte that states are rounded to */
#define MOST_DIGIT 127  /* of signed digits that any bytes are multiplied by */

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

static inline Floats of_halves(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}
static inline void store_halves(uint16_t *to, Floats numbers) {
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph(numbers, _MM_FROUND_TO_NEAREST_INT));
}
/* Numbers in bfloat16, the upper half of float32. */
static inline Floats of_narrow(const uint16_t *from) {
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
}
static inline void store_narrow(uint16_t *to, Floats numbers) {
    __m512i bits = _mm512_castps_si512(numbers), half = _mm512_set1_epi32(0x7fff);
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(half, _mm512_and_si512(_mm512_srli_epi32(bits, 16),
                                                                          _mm512_set1_epi32(1))));
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
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

/* `sums`, each with four products more: of its own four `bytes` and the same four digits. */
static inline Ints add_digit_products(Ints sums, Ints bytes, const int8_t *digits) {
    int32_t four;
    memcpy(&four, digits, sizeof four);
    return _mm512_dpbusd_epi32(sums, bytes, _mm512_set1_epi32(four));
}

static inline Ints all_ints(int32_t number) { return _mm512_set1_epi32(number); }
static inline void store_ints(void *to, Ints numbers) { _mm512_storeu_si512(to, numbers); }
static inline Ints nearest_ints(Floats numbers) { return _mm512_cvtps_epi32(numbers); }
static inline int32_t sum_ints(Ints numbers) { return _mm512_reduce_add_epi32(numbers); }
/* Numbers from -128 to 127. */
static inline void store_signed_bytes(int8_t *to, Ints numbers) {
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(numbers));
}
/* Numbers from 0 to 255. */
static inline void store_lowest_bytes(uint8_t *to, Ints numbers) {
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(numbers));
}
/* Two vectors as one of 16-bit numbers, those beyond their range as its ends: in each 128 bits, those of the
 * first and then those of the second. */
static inline Ints as_shorts(Ints one, Ints other) { return _mm512_packs_epi32(one, other); }
/* The same of 16-bit numbers and bytes from 0 to 255. */
static inline Ints as_bytes(Ints one, Ints other) { return _mm512_packus_epi16(one, other); }
/* `numbers` divided by two so often, rounded down. */
static inline Ints halved(Ints numbers, int32_t times) {
    return _mm512_sra_epi32(numbers, _mm_cvtsi32_si128(times));
}

static inline Ints all_shorts(int16_t number) { return _mm512_set1_epi16(number); }
static inline Ints larger_shorts(Ints one, Ints other) { return _mm512_max_epi16(one, other); }
static inline Ints add_shorts(Ints one, Ints other) { return _mm512_add_epi16(one, other); }
static inline Ints less_shorts(Ints one, Ints other) { return _mm512_subs_epi16(one, other); }
/* Products of 16-bit numbers divided by 2 to the power of 15. */
static inline Ints shares_of_shorts(Ints one, Ints other) { return _mm512_mulhrs_epi16(one, other); }
static inline Ints left_shorts(Ints numbers, int32_t n) {
    return _mm512_sll_epi16(numbers, _mm_cvtsi32_si128(n));
}
static inline Ints right_shorts(Ints numbers, int32_t n) {
    return _mm512_srl_epi16(numbers, _mm_cvtsi32_si128(n));
}
static inline int16_t largest_short(Ints numbers) {
    __m256i half = _mm256_max_epi16(_mm512_castsi512_si256(numbers), _mm512_extracti64x4_epi64(numbers, 1));
    return largest_of_eight(
        _mm_max_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}
/* 16-bit numbers from 0 on divided by 2 to the power of `times`, from 0 on too. */
static inline Ints halved_shorts(Ints numbers, Ints times) { return _mm512_srlv_epi16(numbers, times); }

#elif defined(__AVX2__)

#define LANES 8
#if defined(__AVXVNNI__)
#define MOST_LEVELS 255
#define MOST_DIGIT 127
#else
#define MOST_LEVELS 127 /* pairs of products are summed in 16 bits, which larger ones would overflow */
#define MOST_DIGIT 63
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

static inline Floats of_halves(const uint16_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}
static inline void store_halves(uint16_t *to, Floats numbers) {
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(numbers, _MM_FROUND_TO_NEAREST_INT));
}
static inline Floats of_narrow(const uint16_t *from) {
    return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
}
static inline void store_narrow(uint16_t *to, Floats numbers) {
    __m256i bits = _mm256_castps_si256(numbers), half = _mm256_set1_epi32(0x7fff);
    bits = _mm256_add_epi32(bits, _mm256_add_epi32(half, _mm256_and_si256(_mm256_srli_epi32(bits, 16),
                                                                          _mm256_set1_epi32(1))));
    bits = _mm256_srli_epi32(bits, 16);
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    _mm_storeu_si128((__m128i *)to, words);
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

static inline Ints add_digit_products(Ints sums, Ints bytes, const int8_t *digits) {
    int32_t four;
    memcpy(&four, digits, sizeof four);
#if defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(sums, bytes, _mm256_set1_epi32(four));
#else
    Ints pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi32(four));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

static inline Ints all_ints(int32_t number) { return _mm256_set1_epi32(number); }
static inline void store_ints(void *to, Ints numbers) { _mm256_storeu_si256((__m256i *)to, numbers); }
static inline Ints nearest_ints(Floats numbers) { return _mm256_cvtps_epi32(numbers); }
static inline int32_t sum_ints(Ints numbers) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1);
}
static inline __m128i as_words(Ints numbers) {
    return _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
}
static inline void store_signed_bytes(int8_t *to, Ints numbers) {
    _mm_storel_epi64((__m128i *)to, _mm_packs_epi16(as_words(numbers), as_words(numbers)));
}
static inline void store_lowest_bytes(uint8_t *to, Ints numbers) {
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(as_words(numbers), as_words(numbers)));
}
static inline Ints as_shorts(Ints one, Ints other) { return _mm256_packs_epi32(one, other); }
static inline Ints as_bytes(Ints one, Ints other) { return _mm256_packus_epi16(one, other); }
static inline Ints halved(Ints numbers, int32_t times) {
    return _mm256_sra_epi32(numbers, _mm_cvtsi32_si128(times));
}

static inline Ints all_shorts(int16_t number) { return _mm256_set1_epi16(number); }
static inline Ints larger_shorts(Ints one, Ints other) { return _mm256_max_epi16(one, other); }
static inline Ints add_shorts(Ints one, Ints other) { return _mm256_add_epi16(one, other); }
static inline Ints less_shorts(Ints one, Ints other) { return _mm256_subs_epi16(one, other); }
static inline Ints shares_of_shorts(Ints one, Ints other) { return _mm256_mulhrs_epi16(one, other); }
static inline Ints left_shorts(Ints numbers, int32_t n) {
    return _mm256_sll_epi16(numbers, _mm_cvtsi32_si128(n));
}
static inline Ints right_shorts(Ints numbers, int32_t n) {
    return _mm256_srl_epi16(numbers, _mm_cvtsi32_si128(n));
}
static inline int16_t largest_short(Ints numbers) {
    return largest_of_eight(
        _mm_max_epi16(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1)));
}
/* For want of shifts of each number by its own, products with powers of two from 2^14 down, doubled. Of such
 * a power a single byte is not zero; `times` say where in `powers` it and the other one lie, if not before
 * it. */
static inline Ints halved_shorts(Ints numbers, Ints times) {
    const Ints powers = _mm256_broadcastsi128_si256(
        _mm_setr_epi8((char)128, 64, 32, 16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0));
    Ints place = _mm256_min_epi16(times, _mm256_set1_epi16(14));
    place = _mm256_add_epi8(_mm256_or_si256(place, _mm256_slli_epi16(place, 8)), _mm256_set1_epi16(0x01f9));
    return _mm256_slli_epi16(_mm256_mulhrs_epi16(numbers, _mm256_shuffle_epi8(powers, place)), 1);
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

/* The lowest bytes of four numbers from -128 to 127, those of each lane side by side. */
static inline Ints side_by_side(const Ints four[4]) {
    Ints byte = all_ints(0xff);
    return (four[0] & byte) | (four[1] & byte) << 8 | (four[2] & byte) << 16 | (four[3] & byte) << 24;
}

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
