/* Solve a head from the cells of its lessons: `lexiseg_model.vocabulary.solving`, which names the shapes. */
#include "kernel.h"
#include <math.h>

enum { TOGETHER = 8, COLUMNS = 4 }; /* cells, and columns of a matrix, whose products are added in one pass */
#define TINY 1e-6      /* beside weights whose sum is 1 */

typedef struct {
    const float *cells, *shares, *text; /* [n, f], [n], [n, k] */
    const int32_t *labels, *fold, *shown; /* [n], [n], [3 + folds, k] */
    const uint8_t *pixels;                /* [n, k + 1] */
    int64_t n, f, k, folds;
    double *factors; /* [k] of the text */
    int64_t *known;  /* [k] whether words know the class */
    double strength, scale, most, gain;
    const volatile int32_t *stop; /* another thread sets it to end the work */
} Lessons;

/* The pictures from which what is learned counts for half, and words that know the class for the rest: the best of these is
 * chosen, one of the last only where classes that enough pictures show gain by it, too. Infinite: only words. */
static const double HALVES[] = {0, 0.5, 1, 2, 4, INFINITY, 32, 16, 8};
enum { CHOICES = sizeof HALVES / sizeof *HALVES, DOUBTFUL = 5, ENOUGH = 3 };
#define GAIN 0.01 /* of the mean IoU, that a doubt needs */
#define FOUND 0.1 /* IoU from which words know a class */
#define FOUND_IF_NAMED 0.005 /* likewise, if words give most of its cells to classes of the head */
#define STANDARD_ERRORS 1.5 /* that the gain of a class must exceed, or it keeps its words */
#define AT_STAKE 2.0        /* times the IoU by words: enough of a gain, whatever its error */
/* Logits by which classes that words do not know must exceed none of them, after very many pictures, rising from 0 at FEW. */
#define MARGIN 1.5
#define FEW 5
#define KNOWN 0.6   /* IoU by words of a class that everyday photographs may show */
/* Pictures of a class from which the learning curve says how many more it wants, until so many further ones bring less than
 * FLAT of its IoU; at most MOST_WANTS. */
enum { ENOUGH_PICTURES = 10, MOST_WANTS = 100 };
#define FLAT 0.01
enum { PASSES = 2 }; /* in which classes are given back to their words: the others' IoU changes by that */

typedef struct {
    int64_t wide, across;  /* f and the targets of a group, rounded up to vectors */
    int64_t *same;         /* the classes of a group */
    double *weights, *columns; /* [n]; 0: not of the group; [COLUMNS, f] */
    float *rows, *sums;    /* [TOGETHER, wide + across], [f rounded up to 2, wide + across] */
    double *matrix, *products; /* [2 + folds, f, f] and [2 + folds, f, k + 1]; the first of all, the last of no fold */
    double *lower, *solution;  /* [f, f], [f, k + 1] */
} Room;

static int looked_for(const Lessons *of, int64_t cell, int64_t class) { return !isnan(of->text[cell * of->k + class]); }

/* The classes that were looked for in the same pictures as `class`; 0 if a class before it is one of them. */
static int64_t group_of(const Lessons *of, int64_t class, int64_t *same) {
    int64_t count = 0;
    for (int64_t other = 0; other < of->k; other++) {
        int64_t cell = 0;
        if (!of->shown[other]) continue;
        while (cell < of->n && looked_for(of, cell, other) == looked_for(of, cell, class)) cell++;
        if (cell < of->n) continue;
        if (other < class) return 0;
        same[count++] = other;
    }
    return count;
}

/* Cells of a label together weigh as the root of its share; the sum is 1. */
static void weigh(const Lessons *of, int64_t class, double *total, double *weights) {
    double sum = 0;
    memset(total, 0, (size_t)(of->k + 1) * sizeof(double));
    for (int64_t i = 0; i < of->n; i++)
        if (of->labels[i] >= 0 && looked_for(of, i, class)) total[of->labels[i]] += of->shares[i];
    for (int64_t i = 0; i < of->n; i++) {
        int counts = of->labels[i] >= 0 && looked_for(of, i, class);
        weights[i] = counts ? of->shares[i] / sqrt(total[of->labels[i]]) : 0;
        sum += weights[i];
    }
    for (int64_t i = 0; i < of->n; i++) weights[i] /= sum;
}

/* The logit by words, bounded; of no number (not looked for) it is the lowest. */
static double by_words(const Lessons *of, int64_t cell, int64_t class) {
    double text = of->text[cell * of->k + class];
    return text > of->most ? of->most : text > -of->most ? text : -of->most;
}

/* What the direction of the t-th class of a group must add to its text at a cell; after the last, that of none of them. */
static float target(const Lessons *of, const Room *room, int64_t cell, int64_t t, int64_t classes) {
    if (t == classes) return of->labels[cell] == of->k;
    int64_t class = room->same[t];
    return (float)((of->labels[cell] == class) - of->factors[class] / of->scale * by_words(of, cell, class));
}

/* Add the weighted products of up to TOGETHER rows to two rows of sums at a time, below the diagonal and for the targets. */
WIDEST static void add_products(const float *rows, const float *weights, float *sums, int64_t f, int64_t wide,
                                int64_t across) {
    int64_t width = wide + across;
    for (int64_t i = 0; i < f; i += 2) {
        float upper[TOGETHER], lower[TOGETHER];
        for (int64_t r = 0; r < TOGETHER; r++) {
            upper[r] = weights[r] * rows[r * width + i], lower[r] = weights[r] * rows[r * width + i + 1];
        }
        for (int64_t j = 0; j < width; j += LANES) {
            if (j > i + 1 && j < wide) continue;
            Eight *first = (Eight *)(sums + i * width + j), *second = (Eight *)(sums + (i + 1) * width + j);
            Eight one = *first, other = *second;
            for (int64_t r = 0; r < TOGETHER; r++) {
                Eight row = *(const Eight *)(rows + r * width + j);
                one = one + upper[r] * row, other = other + lower[r] * row;
            }
            *first = one, *second = other;
        }
    }
}

/* The sums of a fold's cells, added to `matrix` and `products` of the fold and of all. */
static void accumulate(const Lessons *of, Room *room, int64_t fold, int64_t classes) {
    int64_t width = room->wide + room->across, f = of->f, targets = classes + 1;
    double *matrix = room->matrix + (1 + fold) * f * f, *products = room->products + (1 + fold) * f * targets;
    float weights[TOGETHER];
    memset(room->sums, 0, (size_t)(f * width) * sizeof(float));
    for (int64_t i = 0, filled = 0; i <= of->n; i++) {
        if (i < of->n && of->fold[i] == fold && room->weights[i] > 0) {
            float *row = room->rows + filled * width;
            if (!filled) memset(room->rows, 0, (size_t)(TOGETHER * width) * sizeof(float));
            memcpy(row, of->cells + i * f, (size_t)f * sizeof(float));
            for (int64_t t = 0; t < targets; t++) row[room->wide + t] = target(of, room, i, t, classes);
            weights[filled++] = (float)room->weights[i];
        }
        if (!filled || (filled < TOGETHER && i < of->n)) continue;
        while (filled < TOGETHER) weights[filled++] = 0;
        add_products(room->rows, weights, room->sums, f, room->wide, room->across);
        filled = 0;
    }
    for (int64_t i = 0; i < f; i++) {
        const float *row = room->sums + i * width;
        for (int64_t j = 0; j <= i; j++) matrix[i * f + j] = row[j], room->matrix[i * f + j] += row[j];
        for (int64_t t = 0; t < targets; t++)
            products[i * targets + t] = row[room->wide + t], room->products[i * targets + t] += row[room->wide + t];
    }
}

/* lower[i, j] -= column[i] * column[j] for all j <= i from `first` on, column by column. */
WIDEST static void take_columns(double *restrict lower, const double *restrict columns, int64_t first, int64_t f) {
    const double *a = columns, *b = a + f, *c = b + f, *d = c + f;
    for (int64_t i = first; i < f; i++) {
        double *row = lower + i * f;
        for (int64_t j = first; j <= i; j++) row[j] = row[j] - a[i] * a[j] - b[i] * b[j] - c[i] * c[j] - d[i] * d[j];
    }
}

/* Cholesky's decomposition, in place, with the transposed above the diagonal; `columns` has room for COLUMNS * f. */
static void decompose(double *lower, double *columns, int64_t f) {
    for (int64_t first = 0; first < f; first++) {
        int64_t done = first % COLUMNS;
        double *column = columns + done * f, pivot = lower[first * f + first];
        column[first] = pivot = sqrt(pivot > TINY * TINY ? pivot : TINY * TINY);
        for (int64_t i = first + 1; i < f; i++) column[i] = lower[i * f + first] / pivot;
        for (int64_t i = first; i < f; i++) lower[i * f + first] = lower[first * f + i] = column[i];
        if (done == COLUMNS - 1) take_columns(lower, columns, first + 1, f);
        else /* the next column alone */
            for (int64_t i = first + 1; i < f; i++)
                for (int64_t c = 0; c <= done; c++)
                    lower[i * f + first + 1] = lower[i * f + first + 1] - columns[c * f + i] * columns[c * f + first + 1];
    }
}

/* Solve lower x lower^T x solution = solution, for t right sides; in place. */
static void substitute(const double *lower, double *solution, int64_t f, int64_t t) {
    for (int64_t i = 0; i < f; i++) {
        double *row = solution + i * t;
        for (int64_t j = 0; j < i; j++)
            for (int64_t c = 0; c < t; c++) row[c] = row[c] - lower[i * f + j] * solution[j * t + c];
        for (int64_t c = 0; c < t; c++) row[c] /= lower[i * f + i];
    }
    for (int64_t i = f - 1; i >= 0; i--) {
        double *row = solution + i * t;
        for (int64_t j = i + 1; j < f; j++)
            for (int64_t c = 0; c < t; c++) row[c] = row[c] - lower[i * f + j] * solution[j * t + c];
        for (int64_t c = 0; c < t; c++) row[c] /= lower[i * f + i];
    }
}

/* The directions of a group's classes from the folds that a part does not leave out. */
static void fit(const Lessons *of, Room *room, int64_t part, int64_t classes, int nobody, float *directions) {
    int64_t f = of->f, t = classes + 1, last = f - 1;
    double *lower = room->lower, *solution = room->solution;
    memcpy(lower, room->matrix, (size_t)(f * f) * sizeof(double));
    memcpy(solution, room->products, (size_t)(f * t) * sizeof(double));
    for (int64_t fold = 0; fold < of->folds; fold++) {
        if (!leaves_out(part, fold, of->folds)) continue;
        for (int64_t i = 0; i < f * f; i++) lower[i] -= room->matrix[(1 + fold) * f * f + i];
        for (int64_t i = 0; i < f * t; i++) solution[i] -= room->products[(1 + fold) * f * t + i];
    }
    double weight = lower[last * f + last];
    if (weight < TINY) weight = TINY;
    double variances = 0; /* one for all features: those that hardly differ in few pictures would be trusted most */
    for (int64_t i = 0; i < last; i++) {
        double mean = lower[last * f + i], variance = lower[i * f + i] - mean * mean / weight;
        if (variance > 0) variances += variance;
    }
    for (int64_t i = 0; i < f; i++)
        lower[i * f + i] += (i < last ? of->strength * variances / (double)last : 0) + TINY;
    decompose(lower, room->columns, f);
    substitute(lower, solution, f, t);
    for (int64_t i = 0; i < f; i++) {
        double none = i == last && !nobody ? 0.5 : solution[i * t + classes];
        for (int64_t c = 0; c < classes; c++)
            directions[room->same[c] * f + i] = (float)(of->scale * (solution[i * t + c] - none));
    }
    double pictures = FEW; /* of the class that most show */
    for (int64_t c = 0; c < of->k; c++) pictures = fmax(pictures, of->shown[c]);
    for (int64_t c = 0; c < classes; c++) {
        float *constant = directions + room->same[c] * f + last;
        if (!of->known[room->same[c]]) *constant = (float)(*constant - MARGIN * (1 - FEW / pictures));
    }
}

static void fit_group(const Lessons *of, Room *room, int64_t classes, float *directions) {
    int64_t f = of->f;
    int nobody = 0;
    weigh(of, room->same[0], room->solution, room->weights);
    for (int64_t i = 0; i < of->n; i++) nobody |= room->weights[i] > 0 && of->labels[i] == of->k;
    room->across = (classes + LANES) / LANES * LANES;
    memset(room->matrix, 0, (size_t)(f * f) * sizeof(double));
    memset(room->products, 0, (size_t)(f * (classes + 1)) * sizeof(double));
    for (int64_t fold = 0; fold <= of->folds && !*of->stop; fold++) accumulate(of, room, fold, classes);
    for (int64_t part = 0; part < (of->folds > 1 ? of->folds + 3 : 1 + of->folds) && !*of->stop; part++) {
        int64_t i = part ? 0 : of->n; /* where the classes were not looked for, no direction is needed */
        while (i < of->n && !(leaves_out(part, of->fold[i], of->folds) && room->weights[i] > 0)) i++;
        if (!part || i < of->n) fit(of, room, part, classes, nobody, directions + part * of->k * f);
    }
}

/* The product of a direction with a cell. */
WIDEST static float product(const float *one, const float *other, int64_t f) {
    Eight sums = {0};
    float total = 0;
    int64_t i = 0;
    for (; i + LANES <= f; i += LANES) sums = sums + *(const Eight *)(one + i) * *(const Eight *)(other + i);
    for (int64_t lane = 0; lane < LANES; lane++) total += sums[lane];
    for (; i < f; i++) total += one[i] * other[i];
    return total;
}

/* Which head answers about the pictures of a fold: that of all pictures, of all other folds, or of half of them. */
typedef enum { TRAINING, HELD_OUT, HALF } Way;

static int64_t part_for(const Lessons *of, Way way, int64_t fold) {
    return way == TRAINING ? 0 : way == HELD_OUT ? 1 + fold : 1 + of->folds + fold % 2;
}

static double trust(const Lessons *of, int64_t part, int64_t class, double half) {
    double pictures = of->shown[part * of->k + class];
    return pictures > 0 ? pictures / (pictures + (of->known[class] || isinf(half) ? half : 0)) : 0;
}

/* The IoU of a class by `counts` [folds, 2, k]: its pixels that are found, and all that are its own or are given to it.
 * One fold may be left out; -1: none. */
static double iou_of(const Lessons *of, const double *counts, int64_t class, int64_t left_out) {
    double hits = 0, all = 0;
    for (int64_t fold = 0; fold < of->folds; fold++) {
        if (fold == left_out) continue;
        hits += counts[2 * fold * of->k + class], all += counts[(2 * fold + 1) * of->k + class];
    }
    return all > 0 ? hits / all : 0;
}

/* The IoU of each class, in pixels, with these pictures for half, by what heads give (`learned` [n, k]) in one `way`;
 * by words if there are no `learned`. Of these a class has its `part` [k]; cells that words give to one that has no part
 * stay with it. Also `counts`, as of `iou_of`. */
static void measure(const Lessons *of, const float *learned, Way way, double half, const double *part, double *counts,
                    double *iou) {
    int64_t k = of->k, labels = k + 1;
    memset(counts, 0, (size_t)(2 * of->folds * k) * sizeof(double));
    for (int64_t i = 0; i < of->n; i++) {
        int64_t won = k, word = k;
        double best = 0, most = 0;
        if (of->labels[i] < 0 || of->fold[i] == of->folds) continue;
        for (int64_t c = k - 1; c >= 0; c--) {
            if (!looked_for(of, i, c)) continue;
            double score = learned ? by_words(of, i, c) : of->text[i * k + c];
            double trusted = learned ? trust(of, part_for(of, way, of->fold[i]), c, half) : 0;
            double share = part ? part[c] * trusted : trusted;
            if (of->text[i * k + c] >= most) most = of->text[i * k + c], word = c;
            if (share > 0) score = share * learned[i * k + c] + (1 - share) * score;
            if (score >= best) best = score, won = c;
        }
        if (part && word < k && part[word] == 0) won = word;
        double *hits = counts + 2 * of->fold[i] * k, *all = hits + k;
        for (int64_t label = 0; label < labels; label++) {
            double pixels = of->shares[i] * of->pixels[i * labels + label];
            if (label < k) all[label] += pixels;
            if (won < k && won != label) all[won] += pixels;
            if (won < k && won == label) hits[won] += pixels;
        }
    }
    for (int64_t c = 0; c < k; c++) iou[c] = iou_of(of, counts, c, -1);
}

/* The mean IoU of the classes that at least so many pictures show; 0 if there are none. */
static double mean_of(const Lessons *of, const double *iou, int32_t least) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t c = 0; c < of->k; c++)
        if (of->shown[c] >= least) sum += iou[c], count++;
    return count ? sum / (double)count : 0;
}

/* How many folds show a class. */
static int64_t folds_with(const Lessons *of, int64_t class) {
    int64_t count = 0;
    for (int64_t part = 1; part <= of->folds; part++) count += of->shown[part * of->k + class] < of->shown[class];
    return count;
}

/* Whether a class is found better than by its words, on what was left out, by more than chance: by the standard error of
 * folds (jackknife), of few folds by more of them. A class that words hardly find has little to lose. */
static int is_better(const Lessons *of, const double *of_words, const double *counts, int64_t class) {
    double words = iou_of(of, of_words, class, -1), gain = iou_of(of, counts, class, -1) - words, squares = 0;
    double folds = (double)folds_with(of, class);
    for (int64_t fold = 0; fold < of->folds; fold++) {
        double apart = iou_of(of, counts, class, fold) - iou_of(of, of_words, class, fold) - gain;
        squares += apart * apart;
    }
    double chance = STANDARD_ERRORS * (1 + 2 / (folds - 1)) * sqrt((folds - 1) / folds * squares);
    return gain >= of->gain / folds && gain >= fmin(chance, AT_STAKE * words);
}

/* Whether words know a class: they find it, or give its cells more than the background has, if less than another class. */
static int is_known(const Lessons *of, const double *of_words, int64_t class) {
    double own = 0, named = 0, sum = 0;
    for (int64_t i = 0; i < of->n; i++) {
        const float *text = of->text + i * of->k;
        int64_t c = 0;
        if (of->labels[i] != class || !looked_for(of, i, class)) continue;
        while (c < of->k && !(text[c] > 0)) c++;
        own += of->shares[i], sum += of->shares[i] * text[class];
        if (c < of->k) named += of->shares[i];
    }
    return sum > 0 || iou_of(of, of_words, class, -1) >= (2 * named > own ? FOUND_IF_NAMED : FOUND);
}

/* What part [k] each class has of what it learned, and the IoU so: none where words are as good on pictures that were
 * left out, or know the class and there are no such pictures. */
static void keep_better(const Lessons *of, const float *learned, double half, const double *of_words, double *counts,
                        double *taught, double *part) {
    for (int64_t c = 0; c < of->k; c++) {
        int64_t folds = folds_with(of, c);
        part[c] = folds > 1 || (folds && !of->known[c]);
    }
    for (int64_t pass = 0; pass <= PASSES; pass++) {
        measure(of, learned, HELD_OUT, half, part, counts, taught);
        for (int64_t c = 0; c < of->k && pass < PASSES; c++)
            if (folds_with(of, c) > 1 && !is_better(of, of_words, counts, c)) part[c] = 0;
    }
}

/* What heads give to the reviewed cells in one way: `learned` [n, k]. */
static void predict(const Lessons *of, const float *directions, Way way, float *learned) {
    int64_t k = of->k, f = of->f;
    for (int64_t i = 0; i < of->n && !*of->stop; i++)
        for (int64_t c = 0; c < k && of->fold[i] < of->folds; c++) {
            const float *direction = directions + (part_for(of, way, of->fold[i]) * k + c) * f;
            learned[i * k + c] = (float)(product(direction, of->cells + i * f, f) + of->factors[c] * by_words(of, i, c));
        }
}

/* How many more pictures a class wants, by its IoU as of all folds but one and as of half of them: it grows with the
 * logarithm of their number. */
static int32_t more_pictures(const Lessons *of, int64_t class, double iou, double by_half) {
    const int32_t *halves = of->shown + (1 + of->folds) * of->k + class;
    double folds = (double)folds_with(of, class), slope = 0, number = ENOUGH_PICTURES;
    if (halves[0] && halves[of->k] && folds > 2) slope = (iou - by_half) / log2(2 - 2 / folds);
    if (slope > FLAT / 50) number = fmax(number, ENOUGH_PICTURES / (pow(2, FLAT / slope) - 1));
    return (int32_t)fmin(fmax(ceil(number) - of->shown[class], 0), MOST_WANTS);
}

/* Choose how far learned classes replace their words, by the cells that their heads did not see, and apply it. */
static void choose(const Lessons *of, float *learned, double *of_words, float *directions, float *text, double *iou,
                   int32_t *wants) {
    int64_t k = of->k, f = of->f;
    double best = -1, sure = 0, half = 0, *words = iou, *taught = iou + k;
    double *counts = of_words + 2 * of->folds * k, *tried = counts + 2 * of->folds * k;
    double *part = tried, *training = taught + k, *by_half = part + k, *others = by_half + k;
    predict(of, directions, HELD_OUT, learned);
    for (int64_t choice = 0; choice < CHOICES && !*of->stop; choice++) {
        measure(of, learned, HELD_OUT, HALVES[choice], NULL, counts, tried);
        double mean = mean_of(of, tried, 1), of_sure = mean_of(of, tried, ENOUGH);
        if (choice == DOUBTFUL) best += GAIN, sure += GAIN;
        if (mean <= best || (choice >= DOUBTFUL && of_sure <= sure)) continue;
        best = mean, half = HALVES[choice];
        if (choice < DOUBTFUL) sure = of_sure;
    }
    measure(of, learned, HELD_OUT, half, NULL, counts, others);
    keep_better(of, learned, half, of_words, counts, taught, part);
    predict(of, directions, TRAINING, learned);
    measure(of, learned, TRAINING, half, part, counts, training);
    if (of->folds > 1) predict(of, directions, HALF, learned);
    measure(of, learned, HALF, half, NULL, counts, by_half);
    for (int64_t c = 0; c < k; c++) {
        double share = part[c] * trust(of, 0, c, half);
        for (int64_t i = 0; i < f; i++) directions[c * f + i] = (float)(share * directions[c * f + i]);
        text[c] = (float)(share * of->factors[c] + (1 - share));
        if (folds_with(of, c) < 2) words[c] = taught[c] = training[c] = NAN; /* nothing was left out */
        wants[c] = more_pictures(of, c, others[c], by_half[c]);
    }
}

/* Write the first of `directions` [3 + folds, k, f], which is zeros before; the rest is room. Also `text` [k], the factors
 * of words, `iou` [3, k] in 0..1: by words; as taught, of what was left out and of all that teaches; and how many
 * more pictures each class wants [k]. Returns STOPPED once `stop` is not 0. */
int64_t lexiseg_teach(const float *cells, const int32_t *labels, const uint8_t *pixels, const float *shares, float *text,
                      const int32_t *fold, int64_t n, int64_t f, int64_t k, int64_t folds, const int32_t *shown,
                      double *factors, double strength, double scale, double most, double gain,
                      float *directions, float *of_words, double *iou, int32_t *wants, const int32_t *stop) {
    Lessons of = {cells, shares, text, labels, fold, shown, pixels, n, f, k, folds, factors, NULL, strength, scale, most,
                  gain, stop};
    int64_t wide = (f + LANES - 1) / LANES * LANES, width = wide + (k + LANES) / LANES * LANES, t = k + 1;
    int64_t doubles = n + COLUMNS * f + (3 + folds) * f * (f + t) + (4 * folds + 3) * k, even = f + f % 2;
    Room room = {.wide = wide};
    room.weights = malloc((size_t)doubles * sizeof(double));
    room.rows = malloc((size_t)((TOGETHER + even) * width + n * k) * sizeof(float));
    room.same = malloc((size_t)(2 * k) * sizeof(int64_t));
    int64_t failed = room.weights && room.rows && room.same ? 0 : OUT_OF_MEMORY;
    if (!failed) {
        of.known = room.same + k;
        room.sums = room.rows + TOGETHER * width;
        room.columns = room.weights + n;
        room.lower = room.columns + COLUMNS * f;
        room.solution = room.lower + f * f;
        room.matrix = room.solution + f * t;
        room.products = room.matrix + (2 + folds) * f * f;
        double *counts = room.products + (2 + folds) * f * t;
        measure(&of, NULL, TRAINING, 0, NULL, counts, iou);
        for (int64_t i = 0; i < n; i++) /* everyday photographs may show what words know */
            for (int64_t c = 0; c < k && fold[i] == folds; c++)
                if (iou[c] >= KNOWN) text[i * k + c] = NAN;
        for (int64_t c = 0; c < k; c++) /* few pictures cannot undo what words say that do not know a class */
            if (!(of.known[c] = is_known(&of, counts, c))) factors[c] = fmin(factors[c], 1 - factors[c]);
        for (int64_t class = 0; class < k && !*of.stop; class++) {
            int64_t classes = shown[class] ? group_of(&of, class, room.same) : 0;
            if (classes) fit_group(&of, &room, classes, directions);
        }
        choose(&of, room.sums + even * width, counts, directions, of_words, iou, wants);
    }
    free(room.weights);
    free(room.rows);
    free(room.same);
    return !failed && *of.stop ? STOPPED : failed;
}
