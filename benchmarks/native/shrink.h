/* A JPEG over 1024 pixels made one of at most 1024: scaled decode, bilinear, quality 95, 4:4:4. */
#include <jpeglib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1024, QUALITY = 95 };

static void shrink_line(const uint8_t *above, const uint8_t *below, int part, int from_width,
                        uint8_t *to, int width) {
    for (int x = 0; x < width; x++) {
        int at = (int)((((int64_t)2 * x + 1) * from_width * 128) / width) - 128; /* 1/256 pixel */
        if (at < 0) at = 0;
        int left = at >> 8, right = left + 1 < from_width ? left + 1 : left, weight = at & 255;
        for (int k = 0; k < 3; k++) {
            int up = above[3 * left + k] * (256 - weight) + above[3 * right + k] * weight;
            int down = below[3 * left + k] * (256 - weight) + below[3 * right + k] * weight;
            to[3 * x + k] = (uint8_t)((up * (256 - part) + down * part + 32768) >> 16);
        }
    }
}

/* Give the picture to send: data itself if it fits, else a new JPEG in *out (free it). */
static const uint8_t *shrink(const uint8_t *data, size_t *size, unsigned char **out) {
    struct jpeg_error_mgr trouble;
    struct jpeg_decompress_struct in = {.err = jpeg_std_error(&trouble)}; /* exits on a bad JPEG */
    jpeg_create_decompress(&in);
    jpeg_mem_src(&in, data, *size);
    jpeg_read_header(&in, TRUE);
    int longest = (int)(in.image_width > in.image_height ? in.image_width : in.image_height);
    if (longest <= MOST) {
        jpeg_destroy_decompress(&in);
        return data;
    }
    in.out_color_space = JCS_RGB;
    in.scale_num = 1;
    for (in.scale_denom = 8; in.scale_denom > 1 && longest / (int)in.scale_denom < MOST;)
        in.scale_denom /= 2;
    jpeg_start_decompress(&in);
    int from_width = (int)in.output_width, from_height = (int)in.output_height;
    size_t stride = (size_t)from_width * 3;
    uint8_t *pixels = malloc(stride * (size_t)from_height);
    while (in.output_scanline < in.output_height) {
        JSAMPROW row = pixels + stride * in.output_scanline;
        jpeg_read_scanlines(&in, &row, 1);
    }
    jpeg_finish_decompress(&in);
    jpeg_destroy_decompress(&in);

    int width = from_width * MOST / (from_width > from_height ? from_width : from_height);
    int height = from_height * MOST / (from_width > from_height ? from_width : from_height);
    struct jpeg_compress_struct to = {.err = &trouble};
    jpeg_create_compress(&to);
    unsigned long made = 0;
    jpeg_mem_dest(&to, out, &made);
    to.image_width = (JDIMENSION)width;
    to.image_height = (JDIMENSION)height;
    to.input_components = 3;
    to.in_color_space = JCS_RGB;
    jpeg_set_defaults(&to);
    jpeg_set_quality(&to, QUALITY, TRUE);
    to.comp_info[0].h_samp_factor = to.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&to, TRUE);
    uint8_t *line = malloc((size_t)width * 3);
    for (int y = 0; y < height; y++) {
        int at = (int)((((int64_t)2 * y + 1) * from_height * 128) / height) - 128;
        if (at < 0) at = 0;
        int up = at >> 8, down = up + 1 < from_height ? up + 1 : up;
        shrink_line(pixels + stride * (size_t)up, pixels + stride * (size_t)down, at & 255,
                    from_width, line, width);
        JSAMPROW row = line;
        jpeg_write_scanlines(&to, &row, 1);
    }
    jpeg_finish_compress(&to);
    jpeg_destroy_compress(&to);
    free(line);
    free(pixels);
    *size = made;
    return *out;
}
