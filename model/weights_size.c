/* How much of a checkpoint each part of a decoder takes, from the table of its tensors. */
#include "model/weights_table.h"

enum part { EMBED, LAYER, HEAD };

static bool is_embedding(const struct dinm_weights *w, const struct dinm_slot *slot)
{
    return slot->matrix == &w->embed || slot->matrix == &w->positions;
}

/* A layer's tensors have slots in a slice of that layer alone; the embedding comes first, and what
 * else lies in no layer belongs to the head. */
static struct dinm_weights_size measure(const struct dinm_config *config,
                                        const struct dinm_checkpoint *checkpoint, enum part part,
                                        size_t layer)
{
    struct dinm_layer_weights one = {0};
    struct dinm_weights w = {.first = layer, .last = layer + 1, .layers = &one};
    struct dinm_weights_size size = {0};

    for (size_t i = 0; i < dinm_weights_n_tensors(config); i++) {
        const struct dinm_param param = dinm_weights_param(config, i);
        const struct dinm_slot slot = dinm_weights_slot(&w, config, i);
        const void *place = slot.matrix != NULL ? (void *)slot.matrix : (void *)slot.vector;
        const bool in_layer = (const char *)place >= (const char *)&one &&
                              (const char *)place < (const char *)(&one + 1);
        const bool embeds = slot.matrix != NULL && is_embedding(&w, &slot);
        const struct dinm_tensor *t = NULL;

        if (place == NULL || (part == LAYER ? !in_layer : in_layer) ||
            (part != LAYER && embeds != (part == EMBED))) {
            continue;
        }
        t = checkpoint != NULL ? dinm_weights_look_up(checkpoint, param.name) : NULL;
        size.n_bytes += t != NULL ? t->n_bytes / (param.n_parts > 0 ? param.n_parts : 1) : 0;
        size.n_tied_bytes += t != NULL && slot.matrix == &w.embed && config->tied ? t->n_bytes : 0;
        if (param.n_in > 0 && !embeds) {
            size.n_products += param.n_out * param.n_in;
            size.n_bf16 += t != NULL && t->dtype == DINM_BF16 ? param.n_out * param.n_in : 0;
        }
    }
    return size;
}

struct dinm_weights_size dinm_weights_layer_size(const struct dinm_config *config,
                                                 const struct dinm_checkpoint *checkpoint,
                                                 size_t layer)
{
    return measure(config, checkpoint, LAYER, layer);
}

struct dinm_weights_size dinm_weights_embed_size(const struct dinm_config *config,
                                                 const struct dinm_checkpoint *checkpoint)
{
    return measure(config, checkpoint, EMBED, 0);
}

struct dinm_weights_size dinm_weights_head_size(const struct dinm_config *config,
                                                const struct dinm_checkpoint *checkpoint)
{
    struct dinm_weights_size size = measure(config, checkpoint, HEAD, config->n_layers - 1);

    if (config->tied) {
        size.n_tied_bytes = dinm_weights_embed_size(config, checkpoint).n_tied_bytes;
        size.n_bytes += size.n_tied_bytes;
        size.n_products += config->n_vocab * config->d_model;
    }
    return size;
}
