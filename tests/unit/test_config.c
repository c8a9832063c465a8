/* model/config: what is read, what has defaults, and what is refused by name. */
#include "support.h"
#include "model/config.h"

#define SIZES                                                                                      \
    "\"num_hidden_layers\": 3, \"hidden_size\": 64, \"num_attention_heads\": 4,"                   \
    " \"intermediate_size\": 100, \"vocab_size\": 300"

static int load(struct dinm_config *c, const char *text, struct dinm_error *err)
{
    char *folder = new_folder(), *path = write_text(folder, "config.json", text);
    const int status = dinm_config_load(c, folder, err);

    free(path);
    remove_folder(folder);
    return status;
}

static void test_defaults(void **state)
{
    struct dinm_config c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_ok(load(&c, "{\"model_type\": \"llama\", \"rope_scaling\": null, " SIZES "}", &err),
              &err);
    assert_int_equal(c.n_layers, 3);
    assert_int_equal(c.d_model, 64);
    assert_int_equal(c.n_heads, 4);
    assert_int_equal(c.n_kv_heads, 4);
    assert_int_equal(c.d_head, 16);
    assert_int_equal(c.d_ff, 100);
    assert_int_equal(c.n_vocab, 300);
    assert_int_equal(c.n_positions, 2048);
    assert_true(c.norm_eps == 1e-6f);
    assert_true(c.rope_theta == 10000.0);
    assert_false(c.tied);
}

static void test_values(void **state)
{
    struct dinm_config c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_ok(load(&c,
                   "{\"model_type\": \"llama\", \"hidden_act\": \"silu\", \"head_dim\": 24,"
                   " \"num_key_value_heads\": 2, \"max_position_embeddings\": 4096,"
                   " \"rms_norm_eps\": 1e-5, \"rope_theta\": 5e5, \"tie_word_embeddings\": true,"
                   " \"attention_bias\": false, \"mlp_bias\": false, " SIZES "}",
                   &err),
              &err);
    assert_int_equal(c.n_kv_heads, 2);
    assert_int_equal(c.d_head, 24);
    assert_int_equal(c.n_positions, 4096);
    assert_true(c.norm_eps == 1e-5f);
    assert_true(c.rope_theta == 500000.0);
    assert_true(c.tied);
    assert_ok(load(&c,
                   "{\"model_type\": \"llama\", " SIZES ", \"rope_parameters\":"
                   " {\"rope_type\": \"default\", \"rope_theta\": 7000}}",
                   &err),
              &err);
    assert_true(c.rope_theta == 7000.0);
}

/* The sentence names the key; the outcome is unchanged. */
static void check_refused(const char *text, const char *part)
{
    const struct dinm_config before = {.n_layers = 77};
    struct dinm_config c = before;
    struct dinm_error err = {0};

    assert_failed(load(&c, text, &err), DINM_FAILED, &err, part);
    assert_non_null(strstr(err.text, "config.json"));
    assert_int_equal(c.n_layers, 77);
    assert_int_equal(c.d_model, 0);
}

static void test_refused_kinds(void **state)
{
    static const struct {
        const char *member, *part;
    } members[] = {
        {"\"model_type\": \"phi3\"", "model_type is \"phi3\""},
        {"\"model_type\": 3", "model_type"},
        {"\"model_type\": \"llama\", \"hidden_act\": \"gelu\"", "hidden_act is \"gelu\""},
        {"\"model_type\": \"llama\", \"attention_bias\": 1", "attention_bias"},
        {"\"model_type\": \"mistral\", \"num_key_value_heads\": 4, \"attention_bias\": true",
         "attention_bias is true"},
        {"\"model_type\": \"llama\", \"rope_scaling\": 2", "rope_scaling"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"linear\"}", "factor"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}",
         "factor must be a positive number"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}",
         "rope_type is \"dynamic\""},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8,"
         " \"low_freq_factor\": 4, \"high_freq_factor\": 4,"
         " \"original_max_position_embeddings\": 8192}",
         "high_freq_factor (4) must be above"},
        {"\"model_type\": \"mistral\", \"num_key_value_heads\": 4, \"sliding_window\": 0",
         "sliding_window"},
        {"\"model_type\": \"mistral\", \"num_key_value_heads\": 4, \"sliding_window\": -1",
         "sliding_window"},
        {"\"model_type\": \"mistral\", \"num_key_value_heads\": 4, \"layer_types\": "
         "[\"sliding_attention\"]",
         "layer_types has 1 entries for 3 layers"},
        {"\"model_type\": \"qwen2\", \"num_key_value_heads\": 4, \"use_sliding_window\": true,"
         " \"layer_types\": [\"sliding_attention\", \"full_attention\", \"full_attention\"]",
         "layer_types: expected full_attention for the first layers"},
        {"\"model_type\": \"qwen2\"", "num_key_value_heads"}, /* 32 by default */
        {"\"model_type\": \"llama\", \"quantization_config\": {\"bits\": 4}",
         "quantization_config"},
        {"\"model_type\": \"llama\", \"partial_rotary_factor\": 0.5", "partial_rotary_factor"},
        {"\"model_type\": \"llama\", \"rope_parameters\": {\"rope_type\": \"yarn\"}",
         "rope_type is \"yarn\""},
        {"\"model_type\": \"llama\", \"rope_theta\": 0", "rope_theta"},
        {"\"model_type\": \"llama\", \"rope_theta\": \"x\"", "rope_theta"},
        {"\"model_type\": \"llama\", \"rms_norm_eps\": -1", "rms_norm_eps"},
        {"\"model_type\": \"llama\", \"rms_norm_eps\": 1", "rms_norm_eps"},
        {"\"model_type\": \"llama\", \"tie_word_embeddings\": 1", "tie_word_embeddings"},
        {"\"model_type\": \"llama\", \"num_key_value_heads\": 3", "num_key_value_heads"},
        {"\"model_type\": \"llama\", \"num_key_value_heads\": 8", "num_key_value_heads"},
        {"\"model_type\": \"llama\", \"head_dim\": 15", "even"},
        {"\"model_type\": \"llama\", \"head_dim\": 2147483646", "heads"},
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        snprintf(text, sizeof text, "{%s, " SIZES "}", members[i].member);
        check_refused(text, members[i].part);
    }
    check_refused("{" SIZES "}", "model_type");
    check_refused("[]", "object");
    check_refused("{\"model_type\": ", "config.json");
}

/* Each size is required, a whole number, positive and below 2^31. */
static void test_refused_sizes(void **state)
{
    static const char *const keys[] = {"num_hidden_layers", "hidden_size", "num_attention_heads",
                                       "intermediate_size", "vocab_size"};
    static const char *const values[] = {"null", "0", "-1", "2.5", "\"4\"", "2147483648"};
    char text[1024];

    (void)state;
    for (size_t bad = 0; bad < 5; bad++) {
        for (size_t v = 0; v < 6; v++) {
            size_t n = (size_t)snprintf(text, sizeof text, "{\"model_type\": \"llama\"");

            for (size_t i = 0; i < 5; i++) {
                n += (size_t)snprintf(text + n, sizeof text - n, ", \"%s\": %s", keys[i],
                                      i == bad ? values[v] : "4");
            }
            snprintf(text + n, sizeof text - n, "}");
            check_refused(text, keys[bad]);
        }
    }
    check_refused("{\"model_type\": \"llama\", \"num_hidden_layers\": 1, \"hidden_size\": 10,"
                  " \"num_attention_heads\": 4, \"intermediate_size\": 1, \"vocab_size\": 1}",
                  "hidden_size (10) must be a multiple of num_attention_heads (4)");
}

static void test_missing_folder(void **state)
{
    struct dinm_config c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_failed(dinm_config_load(&c, "/nonexistent/model", &err), DINM_FAILED, &err,
                  "/nonexistent/model/config.json");
}

static void load_well(struct dinm_config *c, const char *text)
{
    struct dinm_error err = {0};

    assert_ok(load(c, text, &err), &err);
}

static void test_biases_and_scaling(void **state)
{
    struct dinm_config c = {0};

    (void)state;
    load_well(&c, "{\"model_type\": \"llama\", \"attention_bias\": true, \"mlp_bias\": true, " SIZES
                  ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}");
    assert_true(c.qkv_bias && c.o_bias && c.mlp_bias);
    assert_int_equal(c.rope_scaling.kind, DINM_ROPE_LINEAR);
    assert_true(c.rope_scaling.factor == 2.0);
    assert_int_equal(c.window, 0);
    load_well(&c, "{\"model_type\": \"llama\", \"rope_theta\": 5e5, " SIZES
                  ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0,"
                  " \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
                  " \"original_max_position_embeddings\": 8192}}");
    assert_false(c.qkv_bias || c.o_bias || c.mlp_bias || c.layer_norm || c.learned_positions);
    assert_int_equal(c.rope_scaling.kind, DINM_ROPE_LLAMA3);
    assert_true(c.rope_scaling.n_positions == 8192.0 && c.rope_scaling.high_freq_factor == 4.0);
    assert_true(c.rope_theta == 500000.0);
}

static void test_windows(void **state)
{
    struct dinm_config c = {0};

    (void)state;
    load_well(&c, "{\"model_type\": \"mistral\", \"num_key_value_heads\": 2, " SIZES
                  ", \"sliding_window\": 16}");
    assert_string_equal(c.type, "mistral");
    assert_int_equal(dinm_config_window(&c, 0), 16);
    assert_int_equal(dinm_config_window(&c, 2), 16);
    load_well(&c, "{\"model_type\": \"mistral\", \"num_key_value_heads\": 2, " SIZES
                  ", \"sliding_window\": null}");
    assert_int_equal(dinm_config_window(&c, 2), 0);
    load_well(&c, "{\"model_type\": \"mistral\", \"num_key_value_heads\": null, " SIZES "}");
    assert_int_equal(c.n_kv_heads, 4);
    load_well(&c, "{\"model_type\": \"mistral\", \"num_key_value_heads\": 2, " SIZES "}");
    assert_int_equal(dinm_config_window(&c, 0), 4096); /* the library's default */
    load_well(&c, "{\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, " SIZES
                  ", \"use_sliding_window\": false, \"sliding_window\": 16}");
    assert_true(c.qkv_bias && !c.o_bias && !c.mlp_bias);
    assert_int_equal(dinm_config_window(&c, 2), 0);
    load_well(&c, "{\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, " SIZES
                  ", \"use_sliding_window\": true, \"sliding_window\": 16,"
                  " \"max_window_layers\": 2}");
    assert_int_equal(dinm_config_window(&c, 1), 0);
    assert_int_equal(dinm_config_window(&c, 2), 16);
    load_well(&c, "{\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, " SIZES
                  ", \"use_sliding_window\": true, \"sliding_window\": 16, \"layer_types\":"
                  " [\"full_attention\", \"sliding_attention\", \"sliding_attention\"]}");
    assert_int_equal(dinm_config_window(&c, 0), 0);
    assert_int_equal(dinm_config_window(&c, 1), 16);
}

#define GPT2 "{\"model_type\": \"gpt2\", \"n_layer\": 3, \"n_embd\": 60, \"vocab_size\": 300"

static void test_gpt2(void **state)
{
    struct dinm_config c = {0};

    (void)state;
    load_well(&c, GPT2 ", \"n_head\": 4, \"n_inner\": null, \"reorder_and_upcast_attn\": false}");
    assert_int_equal(c.layout, DINM_LAYOUT_GPT2);
    assert_int_equal(c.mlp, DINM_MLP_GELU_NEW);
    assert_true(c.layer_norm && c.learned_positions && c.qkv_bias && c.o_bias && c.mlp_bias);
    assert_true(c.tied && c.norm_eps == 1e-5f);
    assert_int_equal(c.d_head, 15); /* no rotation: any size will do */
    assert_int_equal(c.d_ff, 240);
    assert_int_equal(c.n_positions, 1024);
    check_refused(GPT2 ", \"n_head\": 7}", "n_embd (60) must be a multiple of n_head (7)");
    check_refused(GPT2 "}", "n_head");
    check_refused(GPT2 ", \"n_head\": 4, \"activation_function\": \"relu\"}",
                  "activation_function is \"relu\"");
    check_refused(GPT2 ", \"n_head\": 4, \"scale_attn_by_inverse_layer_idx\": true}",
                  "scale_attn_by_inverse_layer_idx");
    check_refused(GPT2 ", \"n_head\": 4, \"scale_attn_weights\": false}", "scale_attn_weights");
    check_refused(GPT2 ", \"n_head\": 0}", "n_head");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused_kinds),  cmocka_unit_test(test_refused_sizes),
        cmocka_unit_test(test_missing_folder), cmocka_unit_test(test_biases_and_scaling),
        cmocka_unit_test(test_windows),        cmocka_unit_test(test_gpt2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
