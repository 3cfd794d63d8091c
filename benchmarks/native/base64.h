/* Base64 both ways, as fast as a floor should be; no check of the alphabet (it keeps no promise). */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_AVX2 1
#endif

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static uint8_t value_of[256];
static char pair_of[4096][2]; /* 12 bits at once */

static void base64_init(void) {
    for (int i = 0; i < 64; i++) value_of[(uint8_t)ALPHABET[i]] = (uint8_t)i;
    for (int i = 0; i < 4096; i++) {
        pair_of[i][0] = ALPHABET[i >> 6];
        pair_of[i][1] = ALPHABET[i & 63];
    }
}

static size_t base64_encode(const uint8_t *from, size_t size, char *to) {
    char *at = to;
    for (; size > 2; size -= 3, from += 3, at += 4) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        memcpy(at, pair_of[bits >> 12], 2);
        memcpy(at + 2, pair_of[bits & 4095], 2);
    }
    if (size) {
        uint32_t bits = (uint32_t)from[0] << 16 | (size > 1 ? (uint32_t)from[1] << 8 : 0);
        memcpy(at, pair_of[bits >> 12], 2);
        at[2] = size > 1 ? ALPHABET[bits >> 6 & 63] : '=';
        at[3] = '=';
        at += 4;
    }
    return (size_t)(at - to);
}

#ifdef HAVE_AVX2
/* 32 letters to 24 bytes a turn. A letter's group (its high four bits, "/" apart) gives what to
 * add to make it its value; two multiply-adds then join 6 + 6 and 12 + 12 bits, and a shuffle
 * drops each fourth byte. Method: W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding
 * Using AVX2 Instructions", 2018. Writes 32 bytes where 24 count: to[] has that much room. */
__attribute__((target("avx2")))
static size_t decode_wide(const char *from, size_t size, uint8_t *to) {
    const __m256i add = _mm256_setr_epi8(
        0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i order = _mm256_setr_epi8(
        2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1,
        2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
    size_t done = 0;
    for (; size - done >= 48; done += 32, to += 24) {
        __m256i letters = _mm256_loadu_si256((const __m256i *)(from + done));
        __m256i high = _mm256_and_si256(_mm256_srli_epi32(letters, 4), _mm256_set1_epi8(15));
        __m256i slash = _mm256_cmpeq_epi8(letters, _mm256_set1_epi8('/'));
        __m256i group = _mm256_add_epi8(high, slash); /* the comparison is -1 where it holds */
        __m256i bits = _mm256_add_epi8(letters, _mm256_shuffle_epi8(add, group));
        bits = _mm256_maddubs_epi16(bits, _mm256_set1_epi32(0x01400140));
        bits = _mm256_madd_epi16(bits, _mm256_set1_epi32(0x00011000));
        bits = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(bits, order), lanes);
        _mm256_storeu_si256((__m256i *)to, bits);
    }
    return done;
}
#endif

/* to[] has room for size bytes. Returns the number of bytes decoded. */
static size_t base64_decode(const char *from, size_t size, uint8_t *to) {
    size_t done = 0;
#ifdef HAVE_AVX2
    if (size >= 48 && __builtin_cpu_supports("avx2")) done = decode_wide(from, size, to);
#endif
    uint8_t *at = to + done / 4 * 3;
    for (; done + 4 <= size; done += 4, at += 3) {
        const uint8_t *four = (const uint8_t *)from + done;
        uint32_t bits = (uint32_t)value_of[four[0]] << 18 | (uint32_t)value_of[four[1]] << 12
                      | (uint32_t)value_of[four[2]] << 6 | value_of[four[3]];
        at[0] = (uint8_t)(bits >> 16);
        at[1] = (uint8_t)(bits >> 8);
        at[2] = (uint8_t)bits;
    }
    size_t padding = size && from[size - 1] == '=' ? 1 + (from[size - 2] == '=') : 0;
    return (size_t)(at - to) - padding;
}
