/* An external delegate for the tests, in the form that LiteRT loads (tflite_plugin_create_delegate), with one option:
 *
 *   mode = copies    takes the RESHAPE nodes, which it can compute: a part of the graph, with right answers
 *          zeros     takes all nodes, and answers zeros
 *          nothing   takes no node
 *          aborts    ends the process while it looks at the graph
 *          hangs     looks at the graph for ever
 *          refuses   is not created
 *
 * LiteRT's headers are in no package of this project, so what of its C interface is used here is declared below; the
 * order of the members is fixed, since delegates are built apart from the runtime.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1, BUILTIN_RESHAPE = 22, BUILTIN_DELEGATE = 51, MAX_NODES = 64 };

typedef struct {
  int size;
  int data[];
} IntArray;

typedef struct {
  int type;
  void* data;
  IntArray* dims;
  float scale;
  int32_t zero_point;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  int8_t data_is_stale, is_variable;
  int quantization_type;
  void* quantization_params;
  void* sparsity;
  const IntArray* dims_signature;
} Tensor;

typedef struct {
  IntArray *inputs, *outputs;
} Node;

struct Context;
struct Delegate;

typedef struct {
  void* (*init)(struct Context*, const char*, size_t);
  void (*free)(struct Context*, void*);
  int (*prepare)(struct Context*, Node*);
  int (*invoke)(struct Context*, Node*);
  const char* (*profiling_string)(const struct Context*, const Node*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void *operator, *async_kernel;
  uint64_t inplace_operator;
} Registration;

typedef struct Context {
  size_t tensors_size;
  int (*get_execution_plan)(struct Context*, IntArray**);
  Tensor* tensors;
  void* implementation;
  int (*resize_tensor)(struct Context*, Tensor*, IntArray*);
  void (*report_error)(struct Context*, const char*, ...);
  int (*add_tensors)(struct Context*, int, int*);
  int (*get_node)(struct Context*, int, Node**, Registration**);
  int (*replace_nodes)(struct Context*, Registration, const IntArray*, struct Delegate*);
} Context;

typedef struct Delegate {
  const char* mode;
  int (*prepare)(Context*, struct Delegate*);
  void *copy_from_buffer, *copy_to_buffer, *free_buffer;
  int64_t flags;
  void* opaque_builder;
} Delegate;

static int ready(Context* context, Node* node) {
  (void)context, (void)node;
  return OK;
}

static int answer_zeros(Context* context, Node* node) {
  for (int i = 0; i < node->outputs->size; i++) {
    Tensor* output = &context->tensors[node->outputs->data[i]];
    memset(output->data, 0, output->bytes);
  }
  return OK;
}

static int copy_input(Context* context, Node* node) {
  Tensor* output = &context->tensors[node->outputs->data[0]];
  for (int i = 0; i < node->inputs->size; i++) {
    Tensor* input = &context->tensors[node->inputs->data[i]];
    if (input->bytes == output->bytes) memcpy(output->data, input->data, output->bytes);
  }
  return OK;
}

static int look_at_graph(Context* context, Delegate* self) {
  if (strcmp(self->mode, "aborts") == 0) {
    fprintf(stderr, "external_delegate: no such instruction\n");
    abort();
  }
  while (strcmp(self->mode, "hangs") == 0) sleep(1);
  if (strcmp(self->mode, "nothing") == 0) return OK;
  int copies = strcmp(self->mode, "copies") == 0;
  IntArray* plan;
  if (context->get_execution_plan(context, &plan) != OK) return ERROR;
  IntArray* taken = calloc(1, sizeof(IntArray) + MAX_NODES * sizeof(int));
  for (int i = 0; i < plan->size && taken->size < MAX_NODES; i++) {
    Node* node;
    Registration* registration;
    if (context->get_node(context, plan->data[i], &node, &registration) != OK) return ERROR;
    if (!copies || registration->builtin_code == BUILTIN_RESHAPE) taken->data[taken->size++] = plan->data[i];
  }
  Registration kernel = {
      .prepare = ready,
      .invoke = copies ? copy_input : answer_zeros,
      .builtin_code = BUILTIN_DELEGATE,
      .custom_name = "TestDelegate",
      .version = 1,
  };
  int status = context->replace_nodes(context, kernel, taken, self);
  free(taken);
  return status;
}

Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report_error)(const char*)) {
  const char* mode = "";
  for (size_t i = 0; i < count; i++)
    if (strcmp(keys[i], "mode") == 0) mode = values[i];
  if (strcmp(mode, "refuses") == 0) {
    report_error("there is no such device");
    return NULL;
  }
  Delegate* made = calloc(1, sizeof(Delegate));
  made->mode = strdup(mode);
  made->prepare = look_at_graph;
  return made;
}

void tflite_plugin_destroy_delegate(Delegate* delegate) {
  if (delegate == NULL) return;  /* LiteRT calls it for one that was not created as well */
  free((char*)delegate->mode);
  free(delegate);
}
