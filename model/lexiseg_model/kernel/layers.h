/* Layers of a convolutional network: read by `layers.c` once for each width of vectors. Maps are
 * [h, w, channels]. A convolution is done in three steps, group of pixels by group, so that what is between them stays
 * in the cache: what a pixel (or, of Winograd's, a tile) sees is laid out in rows, at each of its places; rows are
 * multiplied with filters [places, panels, depth, PANEL]; what came of it becomes pixels. */
#include "vectors.h"

#define PANEL (WIDTH * LANES)
#include "products.h"
#include "winograd.h"

/* Rows of what the filter sees around pixels from `first` on: [n, kernel * kernel * in], zeros beyond the edges. */
INLINE void NAMED(take_pixels)(const Step *step, const float *from, int64_t first, int64_t n, float *to) {
    int64_t in = step->in, across = made_width(step), bytes = in * (int64_t)sizeof(float), kernel = step->kernel;
    for (int64_t pixel = first; pixel < first + n; pixel++) {
        int64_t y = pixel / across * step->stride - kernel / 2, x = pixel % across * step->stride - kernel / 2;
        int64_t left = x < 0 ? -x : 0, right = x + kernel > step->width ? step->width - x : kernel;
        for (int64_t i = 0; i < kernel; i++, to += kernel * in) {
            if (y + i < 0 || y + i >= step->height) {
                memset(to, 0, (size_t)(kernel * bytes));
                continue;
            }
            if (left) memset(to, 0, (size_t)(left * bytes));
            memcpy(to + left * in, from + ((y + i) * step->width + x + left) * in, (size_t)((right - left) * bytes));
            if (right < kernel) memset(to + right * in, 0, (size_t)((kernel - right) * bytes));
        }
    }
}

/* The same of the image itself, planes of bytes whose 256 shades [3, 256] are given; three colours at once. */
INLINE void NAMED(take_shades)(const Step *step, const uint8_t *from, const float *shades, int64_t first, int64_t n,
                               float *to) {
    int64_t h = step->height, w = step->width, across = made_width(step);
    for (int64_t pixel = first; pixel < first + n; pixel++) {
        int64_t y = pixel / across * step->stride - 1, x = pixel % across * step->stride - 1;
        if (y >= 0 && x >= 0 && y + 3 <= h && x + 3 <= w) {
            const uint8_t *corner = from + y * w + x;
            EACH(i, 3) EACH(j, 3) EACH(c, 3) *to++ = shades[256 * c + corner[c * h * w + i * w + j]];
            continue;
        }
        for (int64_t i = y; i < y + 3; i++)
            for (int64_t j = x; j < x + 3; j++) {
                int inside = i >= 0 && j >= 0 && i < h && j < w;
                EACH(c, 3) *to++ = inside ? shades[256 * c + from[(c * h + i) * w + j]] : 0;
            }
    }
}

/* What came of pixels from `first` on, rows `wide` numbers apart. */
INLINE void NAMED(give_pixels)(const Step *step, const float *made, int64_t wide, const float *bias, const float *add,
                               int64_t first, int64_t n, float *to) {
    int64_t out = step->out;
    for (int64_t pixel = 0; pixel < n; pixel++, made += wide) {
        int64_t at = (first + pixel) * out, channel = 0;
        for (; channel + LANES <= out; channel += LANES) {
            FLOATS sum = *(const FLOATS *)(made + channel) + *(const FLOATS *)(bias + channel);
            if (add) sum += *(const FLOATS *)(add + at + channel);
            *(FLOATS *)(to + at + channel) = LARGER(sum, (FLOATS){0} + least(step));
        }
        for (; channel < out; channel++) {
            float sum = made[channel] + bias[channel] + (add ? add[at + channel] : 0);
            to[at + channel] = sum > least(step) ? sum : least(step);
        }
    }
}

/* Products of `rows` rows at `units` of the places and panels from `unit` on. */
INLINE void NAMED(multiply_units)(const Step *step, const float *filters, const float *left, int64_t rows, int64_t unit,
                                  int64_t units, float *to) {
    int64_t places = places_of(step), depth = depth_of(step), panels = (step->out + PANEL - 1) / PANEL;
    for (int64_t end = unit + units; unit < end; unit++) {
        int64_t place = unit / panels, panel = unit % panels;
        NAMED(multiply)(rows, left + place * depth, places * depth, depth, filters + unit * depth * PANEL,
                        to + (place * panels + panel) * PANEL, places * panels * PANEL);
    }
}

INLINE void NAMED(take)(const int side, const Job *job, const Step *step, int64_t first, int64_t n, float *patch,
                        float *to) {
    const float *from = job->maps + step->from;
    if (side) {
        int64_t across = (step->width + side - 1) / side, row = places_of(step) * step->in;
        for (int64_t t = first; t < first + n; t++, to += row)
            NAMED(take_tile)(side, from, t / across * side - 1, t % across * side - 1, step->height, step->width,
                             step->in, patch, to);
    } else if (step->kind == OF_IMAGE)
        NAMED(take_shades)(step, job->pixels, job->weights + step->from, first, n, to);
    else
        NAMED(take_pixels)(step, from, first, n, to);
}

INLINE void NAMED(give)(const int side, const Job *job, const Step *step, const float *made, int64_t first, int64_t n) {
    const float *bias = job->weights + step->bias, *add = step->add < 0 ? NULL : job->maps + step->add;
    int64_t wide = (step->out + PANEL - 1) / PANEL * PANEL, w = step->width, h = step->height, out = step->out;
    float *to = job->maps + step->to;
    if (!side) {
        NAMED(give_pixels)(step, made, wide, bias, add, first, n, to);
        return;
    }
    int64_t across = (w + side - 1) / side;
    for (int64_t t = first; t < first + n; t++, made += places_of(step) * wide) {
        int64_t y = t / across * side, x = t % across * side, at = (y * w + x) * out;
        NAMED(give_tile)(side, made, wide, out, bias, add ? add + at : NULL, least(step), h - y < side ? h - y : side,
                         w - x < side ? w - x : side, to + at, w * out);
    }
}

INLINE void NAMED(convolve)(const int side, Job *job, const Step *step, int64_t phase, int64_t thread) {
    Team *team = job->team;
    const float *filters = job->weights + step->filters, *rows = job->maps + step->from;
    int64_t places = places_of(step), depth = depth_of(step), panels = (step->out + PANEL - 1) / PANEL;
    int64_t n = items_of(step), group = group_of(step), units = places * panels, row = places * depth;
    int laid_out = step->kind == DIRECT && step->kernel == 1 && step->stride == 1; /* as maps lie anyway */
    float *patch = job->patches + thread * job->patch;
    if (n > group * team->threads) { /* every thread has groups of its own */
        int64_t groups = (n + group * team->threads - 1) / (group * team->threads) * team->threads;
        group = (n + groups - 1) / groups;
        float *seen = job->rooms + thread * job->room, *made = seen + up(group * row, LINE);
        for (int64_t first, some; (some = next_of(team, phase, group, n, &first));) {
            if (!laid_out) NAMED(take)(side, job, step, first, some, patch, seen);
            NAMED(multiply_units)(step, filters, laid_out ? rows + first * row : seen, some, 0, units, made);
            NAMED(give)(side, job, step, made, first, some);
            done_with(team, phase, some, n);
        }
        wait_for(team, phase, n);
    } else { /* they share one, and each filter is read by one of them */
        float *seen = job->rooms, *made = seen + up(n * row, LINE);
        int64_t some = share(n, team->threads), part = share(units, team->threads);
        for (int64_t first, these; !laid_out && (these = next_of(team, phase, some, n, &first));) {
            NAMED(take)(side, job, step, first, these, patch, seen + first * row);
            done_with(team, phase, these, n);
        }
        if (!laid_out) wait_for(team, phase, n);
        for (int64_t unit, these; (these = next_of(team, phase + 1, part, units, &unit));) {
            NAMED(multiply_units)(step, filters, laid_out ? rows : seen, n, unit, these, made);
            done_with(team, phase + 1, these, units);
        }
        wait_for(team, phase + 1, units);
        for (int64_t first, these; (these = next_of(team, phase + 2, some, n, &first));) {
            NAMED(give)(side, job, step, made + first * units * PANEL, first, these);
            done_with(team, phase + 2, these, n);
        }
        wait_for(team, phase + 2, n);
    }
}

/* Twice as high and wide, bilinear, pixels being areas. */
INLINE void NAMED(twice)(Job *job, const Step *step, int64_t phase) {
    int64_t h = step->height, w = step->width, channels = step->in;
    for (int64_t y; next_of(job->team, phase, 1, 2 * h, &y); done_with(job->team, phase, 1, 2 * h)) {
        int64_t beside = y % 2 ? y / 2 + 1 : y / 2 - 1;
        const float *near = job->maps + step->from + y / 2 * w * channels;
        const float *far = beside < 0 || beside >= h ? near : job->maps + step->from + beside * w * channels;
        float *to = job->maps + step->to + y * 2 * w * channels;
        for (int64_t x = 0; x < 2 * w; x++, to += channels) {
            int64_t aside = x % 2 ? x / 2 + 1 : x / 2 - 1, at = x / 2 * channels;
            int64_t by = aside < 0 || aside >= w ? at : aside * channels;
            for (int64_t channel = 0; channel < channels; channel++)
                to[channel] = 0.75f * (0.75f * near[at + channel] + 0.25f * near[by + channel]) +
                              0.25f * (0.75f * far[at + channel] + 0.25f * far[by + channel]);
        }
    }
    wait_for(job->team, phase, 2 * h);
}

/* The mean of all pixels beside each: [h, w, 2 * channels]. */
INLINE void NAMED(beside_mean)(Job *job, const Step *step, int64_t phase) {
    int64_t n = step->height * step->width, channels = step->in;
    const float *from = job->maps + step->from;
    float *to = job->maps + step->to, *mean = to + channels;
    int64_t all;
    if (!next_of(job->team, phase, 1, 1, &all)) return wait_for(job->team, phase, 1);
    for (int64_t channel = 0; channel < channels; channel++) mean[channel] = 0;
    for (int64_t pixel = 0; pixel < n; pixel++)
        for (int64_t channel = 0; channel < channels; channel++) mean[channel] += from[pixel * channels + channel];
    for (int64_t channel = 0; channel < channels; channel++) mean[channel] /= (float)n;
    for (int64_t pixel = 0; pixel < n; pixel++) {
        memcpy(to + pixel * 2 * channels, from + pixel * channels, (size_t)channels * sizeof(float));
        if (pixel) memcpy(mean + pixel * 2 * channels, mean, (size_t)channels * sizeof(float));
    }
    done_with(job->team, phase, 1, 1);
}

/* Half as high and wide: the mean of 2 x 2 pixels. */
INLINE void NAMED(halve)(Job *job, const Step *step, int64_t phase) {
    int64_t channels = step->in, row = step->width * channels;
    int64_t made = step->height / 2;
    for (int64_t y; next_of(job->team, phase, 1, made, &y); done_with(job->team, phase, 1, made)) {
        const float *from = job->maps + step->from + 2 * y * row;
        float *to = job->maps + step->to + y * (row / 2);
        for (int64_t x = 0; x < step->width / 2; x++, from += 2 * channels, to += channels)
            for (int64_t channel = 0; channel < channels; channel++)
                to[channel] = 0.25f * (from[channel] + from[channels + channel] + from[row + channel] +
                                       from[row + channels + channel]);
    }
    wait_for(job->team, phase, made);
}

/* The mean of all pixels and the largest of each channel: [2 * channels]. */
INLINE void NAMED(pool)(Job *job, const Step *step, int64_t phase) {
    int64_t n = step->height * step->width, channels = step->in;
    const float *from = job->maps + step->from;
    float *mean = job->maps + step->to, *most = mean + channels;
    int64_t all;
    if (!next_of(job->team, phase, 1, 1, &all)) return wait_for(job->team, phase, 1);
    memset(mean, 0, (size_t)channels * sizeof(float));
    memcpy(most, from, (size_t)channels * sizeof(float));
    for (int64_t pixel = 0; pixel < n; pixel++, from += channels)
        for (int64_t channel = 0; channel < channels; channel++) {
            mean[channel] += from[channel];
            most[channel] = most[channel] > from[channel] ? most[channel] : from[channel];
        }
    for (int64_t channel = 0; channel < channels; channel++) mean[channel] /= (float)n;
    done_with(job->team, phase, 1, 1);
}

/* Every vector to unit length, in its place. */
INLINE void NAMED(unit)(Job *job, const Step *step, int64_t phase) {
    int64_t length = step->kernel, n = step->height * step->width * step->in / length, some = share(n, job->team->threads);
    for (int64_t first, these; (these = next_of(job->team, phase, some, n, &first));) {
        for (int64_t vector = first; vector < first + these; vector++) {
            FLOATS *numbers = (FLOATS *)(job->maps + step->to + vector * length), squares = {0};
            for (int64_t v = 0; v < length / LANES; v++) squares += numbers[v] * numbers[v];
            float sum = 1e-12f;
            EACH(lane, LANES) sum += squares[lane];
            for (int64_t v = 0; v < length / LANES; v++) numbers[v] *= 1 / sqrtf(sum);
        }
        done_with(job->team, phase, these, n);
    }
    wait_for(job->team, phase, n);
}

/* What is given with the image, whose pixels are a multiple of LANES numbers. */
ENTRY static void NAMED(take_given)(Job *job, const Step *step, int64_t phase) {
    int64_t row = step->width * step->in, rows = step->height, some = share(rows, job->team->threads);
    const uint16_t *given = job->given + job->image * rows * row;
    for (int64_t first, these; (these = next_of(job->team, phase, some, rows, &first));) {
        for (int64_t i = first * row; i < (first + these) * row; i += LANES) {
#if LANES == 16
            _mm512_storeu_ps(job->maps + step->to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(given + i))));
#else
            _mm256_storeu_ps(job->maps + step->to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(given + i))));
#endif
        }
        done_with(job->team, phase, these, rows);
    }
    wait_for(job->team, phase, rows);
}

/* `n` numbers as half as many bytes each, rounded to the nearest. */
ENTRY static void NAMED(to_halves)(const float *from, int64_t n, uint16_t *to) {
    for (int64_t i = 0; i < n; i += LANES) {
        float numbers[LANES] = {0};
        uint16_t halves[LANES];
        int64_t some = n - i < LANES ? n - i : LANES;
        memcpy(numbers, from + i, (size_t)some * sizeof(float));
#if LANES == 16
        _mm256_storeu_si256((__m256i *)halves, _mm512_cvtps_ph(_mm512_loadu_ps(numbers), _MM_FROUND_TO_NEAREST_INT));
#else
        _mm_storeu_si128((__m128i *)halves, _mm256_cvtps_ph(_mm256_loadu_ps(numbers), _MM_FROUND_TO_NEAREST_INT));
#endif
        memcpy(to + i, halves, (size_t)some * sizeof(uint16_t));
    }
}

/* What one of the threads does for an image. */
ENTRY static void NAMED(work)(Job *job, int64_t thread) {
    int64_t phase = job->first_phase;
    for (const Step *step = job->steps; step < job->steps + job->n_steps; step++, phase += PHASES) {
        switch (step->kind) {
        case OF_IMAGE:
        case DIRECT: NAMED(convolve)(0, job, step, phase, thread); break;
        case BY_FOURS: NAMED(convolve)(4, job, step, phase, thread); break;
        case BY_TWOS: NAMED(convolve)(2, job, step, phase, thread); break;
        case TWICE: NAMED(twice)(job, step, phase); break;
        case BESIDE_MEAN: NAMED(beside_mean)(job, step, phase); break;
        case HALVE: NAMED(halve)(job, step, phase); break;
        case POOL: NAMED(pool)(job, step, phase); break;
        case UNIT: NAMED(unit)(job, step, phase); break;
        case GIVEN: NAMED(take_given)(job, step, phase); break;
        }
    }
    for (int64_t i = 0; i < job->n_wanted; i++, phase++) {
        const Wanted *wanted = job->wanted + i;
        const float *from = job->maps + wanted->place;
        int64_t length = wanted->length, some = share(length, job->team->threads), at = job->image * length;
        for (int64_t first, n; (n = next_of(job->team, phase, some, length, &first));) {
            if (job->half)
                NAMED(to_halves)(from + first, n, (uint16_t *)wanted->to + at + first);
            else
                memcpy((float *)wanted->to + at + first, from + first, (size_t)n * sizeof(float));
            done_with(job->team, phase, n, length);
        }
        wait_for(job->team, phase, length);
    }
}
#undef LANES
#undef ROWS
#undef WIDTH
#undef PANEL
#undef NAMED
#undef ENTRY
