/* A small checkpoint of ours with every bit of its header flipped, and cut at every byte: it is
 * refused or means the same. */
#include "reference.h"
#include "io/file.h"
#include "model/slice.h"

struct world {
    char *folder;
    struct dinm_slice sound;
    struct dinm_buffer bytes; /* of model.safetensors */
    size_t header_bytes;
    char *path;
};

static void world_open(struct world *w)
{
    const struct dinm_config c = small_config(true, 2);
    float *flat = random_flat(&c, 3);
    struct dinm_error err = {0};

    *w = (struct world){.folder = model_folder(&c, flat, DINM_BF16)};
    w->path = dinm_path_join(w->folder, "model.safetensors", &err);
    assert_ok(dinm_file_read(w->path, &w->bytes, &err), &err);
    assert_ok(dinm_slice_open(&w->sound, w->folder, 0, 0, &err), &err);
    w->header_bytes =
        8 + (unsigned char)w->bytes.data[0] + 256 * (size_t)(unsigned char)w->bytes.data[1];
    free(flat);
}

static void world_close(struct world *w)
{
    dinm_slice_close(&w->sound);
    dinm_buffer_free(&w->bytes);
    remove_folder(w->folder);
    free(w->path);
}

/* In place: the mapping that is open keeps its own pages only if the file is another. */
static void put(const struct world *w, const char *bytes, size_t n_bytes)
{
    FILE *file;

    assert_int_equal(remove(w->path), 0);
    file = fopen(w->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
}

static bool same_matrix(const struct dinm_matrix *a, const struct dinm_matrix *b)
{
    return a->dtype == b->dtype && a->n_out == b->n_out && a->n_in == b->n_in &&
           memcmp(a->data, b->data, a->n_out * a->n_in * dinm_dtype_size(a->dtype)) == 0;
}

static bool same_weights(const struct dinm_slice *a, const struct dinm_slice *b)
{
    const size_t d = a->config.d_model;
    bool same = same_matrix(&a->weights.embed, &b->weights.embed) &&
                memcmp(a->weights.final_norm, b->weights.final_norm, d * sizeof(float)) == 0;

    for (size_t l = 0; l < a->config.n_layers; l++) {
        const struct dinm_layer_weights *x = &a->weights.layers[l], *y = &b->weights.layers[l];
        const struct dinm_matrix *xs[] = {&x->q, &x->k, &x->v, &x->o, &x->gate, &x->up, &x->down};
        const struct dinm_matrix *ys[] = {&y->q, &y->k, &y->v, &y->o, &y->gate, &y->up, &y->down};

        for (size_t i = 0; i < 7; i++) {
            same = same && same_matrix(xs[i], ys[i]);
        }
        same = same && memcmp(x->attn_norm, y->attn_norm, d * sizeof(float)) == 0 &&
               memcmp(x->mlp_norm, y->mlp_norm, d * sizeof(float)) == 0;
    }
    return same;
}

static void every_flipped_bit(void **state)
{
    struct world w;
    size_t n_refused = 0, n_same = 0;

    (void)state;
    world_open(&w);
    for (size_t bit = 0; bit < 8 * w.header_bytes; bit++) {
        struct dinm_slice slice;
        struct dinm_error err = {0};

        w.bytes.data[bit / 8] = (char)(w.bytes.data[bit / 8] ^ (1 << bit % 8));
        put(&w, w.bytes.data, w.bytes.n_bytes);
        if (dinm_slice_open(&slice, w.folder, 0, 0, &err) < 0) {
            assert_non_null(strstr(err.text, w.folder));
            n_refused++;
        } else {
            if (!same_weights(&slice, &w.sound)) {
                fail_msg("bit %zu flipped: the weights are others", bit);
            }
            dinm_slice_close(&slice);
            n_same++;
        }
        w.bytes.data[bit / 8] = (char)(w.bytes.data[bit / 8] ^ (1 << bit % 8));
    }
    print_message("%zu flips refused, %zu mean the same\n", n_refused, n_same);
    assert_true(n_refused > 10 * n_same && n_same > 0);
    world_close(&w);
}

static void every_truncation(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t n = 0; n < w.bytes.n_bytes; n += n < w.header_bytes + 64 ? 1 : 97) {
        struct dinm_slice slice;
        struct dinm_error err = {0};

        put(&w, w.bytes.data, n);
        assert_failed(dinm_slice_open(&slice, w.folder, 0, 0, &err), DINM_FAILED, &err, w.folder);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit),
        cmocka_unit_test(every_truncation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
