// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bodies are translated once into a list of instructions over a file of cells: inputs, outputs, locals.
#include "test/unit/nest_interpreter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARGS 3
#define MAX_CELLS 512
#define FIRST_OUT ANAS_MAX_ACCESSES
#define FIRST_LOCAL (FIRST_OUT + ANAS_MAX_RESULTS)

typedef union nest_cell cell;

struct instruction {
  const struct operation *operation;
  int arg[MAX_ARGS], target;
  int from_bits, bits; // of the operand type and of the result type
  int predicate;
  cell constant;
};

struct operation {
  const char *name;
  int num_args;
  cell (*run)(const struct instruction *instruction, const cell *arg);
};

// ---- memory

void nest_memory_init(struct nest_memory *memory, const struct anas_lowering *lowering) {
  *memory = (struct nest_memory){.lowering = lowering};
}

void nest_memory_deinit(struct nest_memory *memory) {
  for (int i = 0; i < memory->count; i++)
    free(memory->storage[i]);
  free(memory->storage);
}

union nest_cell *nest_memory_buffer(struct nest_memory *memory, int buffer) {
  const struct anas_lowering *l = memory->lowering;
  int64_t offset, width = anas_element_bytes(anas_lower_shape(l, buffer)->element);
  buffer = anas_lowering_locate(l, buffer, &offset);
  if (memory->count < l->num_buffers) {
    memory->storage = anas_realloc(memory->storage, (size_t)l->num_buffers * sizeof *memory->storage);
    while (memory->count < l->num_buffers)
      memory->storage[memory->count++] = NULL;
  }
  if (!memory->storage[buffer]) {
    int64_t elements = anas_shape_elements(anas_lower_shape(l, buffer));
    memory->storage[buffer] = anas_calloc((size_t)elements, sizeof(cell));
    for (int64_t i = 0; i < elements; i++)
      memory->storage[buffer][i].f = NAN;
  }
  return memory->storage[buffer] + offset / width;
}

// ---- operations

static cell real(double value) {
  return (cell){.f = value};
}

// Integers are kept sign-extended from their width; i1 is 0 or 1.
static cell integer(uint64_t value, int bits) {
  if (bits == 1) return (cell){.i = (int64_t)(value & 1)};
  if (bits < 64) {
    uint64_t sign = UINT64_C(1) << (bits - 1);
    value &= (sign << 1) - 1;
    value = (value ^ sign) - sign;
  }
  return (cell){.i = (int64_t)value};
}

static uint64_t unsigned_of(cell value, int bits) {
  return bits < 64 ? (uint64_t)value.i & ((UINT64_C(1) << bits) - 1) : (uint64_t)value.i;
}

#define REAL(name, expression)                                                                                         \
  static cell name(const struct instruction *instruction, const cell *arg) {                                           \
    (void)instruction;                                                                                                 \
    return real(expression);                                                                                           \
  }
#define INTEGER(name, expression)                                                                                      \
  static cell name(const struct instruction *instruction, const cell *arg) {                                           \
    int bits = instruction->bits;                                                                                      \
    uint64_t a = unsigned_of(arg[0], bits), b = unsigned_of(arg[1], bits);                                             \
    (void)a;                                                                                                           \
    (void)b;                                                                                                           \
    return integer(expression, bits);                                                                                  \
  }

REAL(run_addf, arg[0].f + arg[1].f)
REAL(run_subf, arg[0].f - arg[1].f)
REAL(run_mulf, arg[0].f *arg[1].f)
REAL(run_divf, arg[0].f / arg[1].f)
REAL(run_negf, -arg[0].f)
REAL(run_maxnumf, fmax(arg[0].f, arg[1].f))
REAL(run_minnumf, fmin(arg[0].f, arg[1].f))
REAL(run_maximumf, isnan(arg[0].f) || isnan(arg[1].f) ? (double)NAN : fmax(arg[0].f, arg[1].f))
REAL(run_minimumf, isnan(arg[0].f) || isnan(arg[1].f) ? (double)NAN : fmin(arg[0].f, arg[1].f))
REAL(run_fma, arg[0].f *arg[1].f + arg[2].f)
REAL(run_exp, exp(arg[0].f))
REAL(run_exp2, exp2(arg[0].f))
REAL(run_expm1, expm1(arg[0].f))
REAL(run_log, log(arg[0].f))
REAL(run_log1p, log1p(arg[0].f))
REAL(run_sqrt, sqrt(arg[0].f))
REAL(run_rsqrt, 1 / sqrt(arg[0].f))
REAL(run_tanh, tanh(arg[0].f))
REAL(run_erf, erf(arg[0].f))
REAL(run_absf, fabs(arg[0].f))
REAL(run_powf, pow(arg[0].f, arg[1].f))
REAL(run_sitofp, (double)arg[0].i)
REAL(run_uitofp, (double)unsigned_of(arg[0], instruction->from_bits))
INTEGER(run_addi, a + b)
INTEGER(run_subi, a - b)
INTEGER(run_muli, a *b)
INTEGER(run_andi, a &b)
INTEGER(run_ori, a | b)
INTEGER(run_xori, a ^ b)
INTEGER(run_shli, a << b)
INTEGER(run_shrui, a >> b)
INTEGER(run_divui, a / b)
INTEGER(run_remui, a % b)

static cell run_constant(const struct instruction *instruction, const cell *arg) {
  (void)arg;
  return instruction->constant;
}

static cell run_select(const struct instruction *instruction, const cell *arg) {
  (void)instruction;
  return arg[0].i ? arg[1] : arg[2];
}

static cell run_extend_signed(const struct instruction *instruction, const cell *arg) {
  return integer((uint64_t)arg[0].i, instruction->bits);
}

static cell run_extend_unsigned(const struct instruction *instruction, const cell *arg) {
  return integer(unsigned_of(arg[0], instruction->from_bits), instruction->bits);
}

static cell run_fptosi(const struct instruction *instruction, const cell *arg) {
  return integer((uint64_t)(int64_t)arg[0].f, instruction->bits);
}

static const char *const compare_float[] = {"oeq", "ogt", "oge", "olt", "ole", "one",
                                            "ueq", "ugt", "uge", "ult", "ule", "une"};

static cell run_cmpf(const struct instruction *instruction, const cell *arg) {
  double a = arg[0].f, b = arg[1].f;
  bool result[] = {a == b, a > b, a >= b, a < b, a <= b, a < b || a > b};
  bool unordered = isnan(a) || isnan(b);
  return (cell){.i = result[instruction->predicate % 6] || (instruction->predicate >= 6 && unordered)};
}

static const char *const compare_integer[] = {"eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"};

static cell run_cmpi(const struct instruction *instruction, const cell *arg) {
  uint64_t a = unsigned_of(arg[0], instruction->bits), b = unsigned_of(arg[1], instruction->bits);
  bool result[] = {a == b,
                   a != b,
                   arg[0].i<arg[1].i, arg[0].i <= arg[1].i, arg[0].i> arg[1].i,
                   arg[0].i >= arg[1].i,
                   a<b, a <= b, a> b,
                   a >= b};
  return (cell){.i = result[instruction->predicate]};
}

static const struct operation operations[] = {
    {"arith.constant", 0, run_constant},
    {"arith.addf", 2, run_addf},
    {"arith.subf", 2, run_subf},
    {"arith.mulf", 2, run_mulf},
    {"arith.divf", 2, run_divf},
    {"arith.negf", 1, run_negf},
    {"arith.maxnumf", 2, run_maxnumf},
    {"arith.minnumf", 2, run_minnumf},
    {"arith.maximumf", 2, run_maximumf},
    {"arith.minimumf", 2, run_minimumf},
    {"arith.cmpf", 2, run_cmpf},
    {"arith.cmpi", 2, run_cmpi},
    {"arith.select", 3, run_select},
    {"arith.sitofp", 1, run_sitofp},
    {"arith.uitofp", 1, run_uitofp},
    {"arith.fptosi", 1, run_fptosi},
    {"arith.extsi", 1, run_extend_signed},
    {"arith.extui", 1, run_extend_unsigned},
    {"arith.trunci", 1, run_extend_signed},
    {"arith.index_cast", 1, run_extend_signed},
    {"arith.index_castui", 1, run_extend_unsigned},
    {"arith.addi", 2, run_addi},
    {"arith.subi", 2, run_subi},
    {"arith.muli", 2, run_muli},
    {"arith.andi", 2, run_andi},
    {"arith.ori", 2, run_ori},
    {"arith.xori", 2, run_xori},
    {"arith.shli", 2, run_shli},
    {"arith.shrui", 2, run_shrui},
    {"arith.divui", 2, run_divui},
    {"arith.remui", 2, run_remui},
    {"linalg.index", 0, NULL}, // reads the loop counter
    {"math.fma", 3, run_fma},
    {"math.exp", 1, run_exp},
    {"math.exp2", 1, run_exp2},
    {"math.expm1", 1, run_expm1},
    {"math.log", 1, run_log},
    {"math.log1p", 1, run_log1p},
    {"math.sqrt", 1, run_sqrt},
    {"math.rsqrt", 1, run_rsqrt},
    {"math.tanh", 1, run_tanh},
    {"math.erf", 1, run_erf},
    {"math.absf", 1, run_absf},
    {"math.powf", 2, run_powf},
};

// ---- translation of a body

// "%i0", "%o1", "%v12": number of its cell, -1 if it is something else.
static int parse_value(const char *text) {
  if (text[0] != '%' || !text[1]) return -1;
  int number = atoi(text + 2);
  if (text[1] == 'i' && number < ANAS_MAX_ACCESSES) return number;
  if (text[1] == 'o' && number < ANAS_MAX_RESULTS) return FIRST_OUT + number;
  if (text[1] == 'v' && number < MAX_CELLS - FIRST_LOCAL) return FIRST_LOCAL + number;
  return -1;
}

static int type_bits(const char *type) {
  if (type[0] == 'i' && type[1] >= '0' && type[1] <= '9') return atoi(type + 1);
  return 64; // index; unused for floats
}

static cell parse_constant(const char *text, const char *type) {
  if (!strcmp(text, "true")) return (cell){.i = 1};
  if (!strcmp(text, "false")) return (cell){.i = 0};
  if (type[0] != 'f') return integer(strtoull(text, NULL, 0), type_bits(type)); // accepts a sign
  if (strncmp(text, "0x", 2)) return real(strtod(text, NULL));
  uint32_t bits = (uint32_t)strtoul(text, NULL, 16);
  float value;
  memcpy(&value, &bits, sizeof value);
  return real(value);
}

// "%v3 = arith.addf %i0, %v2 fastmath<contract> : f32"; the line is cut into words in place.
static anas_status translate_line(char *line, const char *whole, struct instruction *out) {
  char *word[16], *save = NULL;
  int words = 0, colon = -1;
  for (char *w = strtok_r(line, " ,", &save); w && words < 16; w = strtok_r(NULL, " ,", &save)) {
    if (!strcmp(w, ":")) colon = words;
    word[words++] = w;
  }
  if (words < 3 || strcmp(word[1], "=")) return anas_fail(ANAS_UNSUPPORTED, "cannot read '%s'", whole);
  struct instruction instruction = {.target = parse_value(word[0]), .predicate = -1};
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
    if (!strcmp(operations[i].name, word[2])) instruction.operation = &operations[i];
  if (!instruction.operation || instruction.target < 0)
    return anas_fail(ANAS_UNSUPPORTED, "the interpreter does not know '%s' (in '%s')", word[2], whole);
  const char *from = colon >= 0 && colon + 1 < words ? word[colon + 1] : "i1", *to = from;
  if (colon >= 0 && colon + 3 < words && !strcmp(word[colon + 2], "to")) to = word[colon + 3];
  instruction.from_bits = type_bits(from);
  instruction.bits = type_bits(to);
  int next = 3, last = colon < 0 ? words : colon;
  const char *name = instruction.operation->name;
  bool is_cmpf = !strcmp(name, "arith.cmpf");
  if (is_cmpf || !strcmp(name, "arith.cmpi")) {
    const char *const *names = is_cmpf ? compare_float : compare_integer;
    int count = is_cmpf ? 12 : 10;
    for (int i = 0; i < count && next < last; i++)
      if (!strcmp(names[i], word[next])) instruction.predicate = i;
    if (instruction.predicate < 0) return anas_fail(ANAS_UNSUPPORTED, "unknown predicate in '%s'", whole);
    next++;
  }
  if (!strcmp(name, "arith.constant") && next < last) instruction.constant = parse_constant(word[next], to);
  if (!strcmp(name, "linalg.index") && next < last) instruction.constant.i = atoi(word[next]);
  for (int i = 0; i < instruction.operation->num_args; i++, next++)
    if (next >= last || (instruction.arg[i] = parse_value(word[next])) < 0)
      return anas_fail(ANAS_UNSUPPORTED, "operand %d is missing in '%s'", i, whole);
  *out = instruction;
  return ANAS_OK;
}

static anas_status translate(const struct anas_nest *nest, struct instruction *out, int *out_count) {
  char *text = anas_strdup(anas_strbuf_text(&nest->body)), *save = NULL;
  anas_status status = ANAS_OK;
  int count = 0;
  for (char *line = strtok_r(text, "\n", &save); line && status == ANAS_OK; line = strtok_r(NULL, "\n", &save)) {
    char *whole = anas_strdup(line);
    status = count == MAX_CELLS ? anas_fail(ANAS_UNSUPPORTED, "body of more than %d lines", MAX_CELLS)
                                : translate_line(line, whole, &out[count++]);
    free(whole);
  }
  free(text);
  *out_count = count;
  return status;
}

// ---- execution

struct walk { // one access: its elements and the step of each loop in them
  cell *data;
  int64_t start, step[ANAS_MAX_LOOPS];
  const struct anas_access *bordered; // null: it stays inside its buffer
  const struct anas_shape *shape;
};

static struct walk walk_of(struct nest_memory *memory, const struct anas_nest *nest, const struct anas_access *access) {
  const struct anas_shape *shape = anas_lower_shape(memory->lowering, access->buffer);
  struct walk walk = {.data = nest_memory_buffer(memory, access->buffer), .shape = shape};
  if (anas_access_bordered(access)) walk.bordered = access;
  int64_t stride = 1;
  for (int d = shape->rank - 1; d >= 0; d--) {
    walk.start += access->index[d].constant * stride;
    for (int k = 0; k < nest->num_loops; k++)
      walk.step[k] += access->index[d].coef[k] * stride;
    stride *= shape->dim[d];
  }
  return walk;
}

static int64_t walk_at(const struct walk *walk, const int64_t *counter, int loops) {
  int64_t at = walk->start;
  for (int k = 0; k < loops; k++)
    at += walk->step[k] * counter[k];
  return at;
}

// What an access reads, which may be the zeros around its buffer.
static cell walk_read(const struct walk *walk, const int64_t *counter, int loops) {
  if (!walk->bordered) return walk->data[walk_at(walk, counter, loops)];
  int64_t at = 0;
  for (int d = 0; d < walk->shape->rank; d++) {
    const struct anas_linear *linear = &walk->bordered->index[d];
    int64_t index = linear->constant, border = walk->bordered->border[d];
    for (int k = 0; k < loops; k++)
      index += linear->coef[k] * counter[k];
    if (border) {
      if (index < 0 || index % border || index / border >= walk->shape->dim[d]) return real(0);
      index /= border;
    }
    at = at * walk->shape->dim[d] + index;
  }
  return walk->data[at];
}

static void fill_output(struct nest_memory *memory, const struct anas_nest *nest, int j) {
  static const double values[] = {[ANAS_FILL_ZERO] = 0, [ANAS_FILL_NEGATIVE_INFINITY] = -INFINITY, [ANAS_FILL_ONE] = 1};
  if (nest->fill[j] == ANAS_NO_FILL) return;
  const struct anas_shape *shape = anas_lower_shape(memory->lowering, nest->out[j].buffer);
  cell *data = nest_memory_buffer(memory, nest->out[j].buffer);
  double value = values[nest->fill[j]];
  for (int64_t i = 0; i < anas_shape_elements(shape); i++)
    data[i] = shape->element == ANAS_F32 ? real(value) : (cell){.i = (int64_t)value};
}

anas_status nest_interpret_part(struct nest_memory *memory, const struct anas_nest *nest, int64_t begin, int64_t end,
                                bool fills) {
  struct instruction program[MAX_CELLS];
  int count, yield[ANAS_MAX_RESULTS];
  ANAS_RETURN_IF_ERROR(translate(nest, program, &count));
  struct walk in[ANAS_MAX_ACCESSES], out[ANAS_MAX_RESULTS];
  for (int i = 0; i < nest->num_in; i++)
    in[i] = walk_of(memory, nest, &nest->in[i]);
  for (int j = 0; j < nest->num_out; j++) {
    out[j] = walk_of(memory, nest, &nest->out[j]);
    yield[j] = parse_value(nest->yield[j]);
    if (yield[j] < 0) return anas_fail(ANAS_UNSUPPORTED, "cannot read yield '%s'", nest->yield[j]);
    if (fills) fill_output(memory, nest, j);
  }
  cell file[MAX_CELLS];
  int64_t counter[ANAS_MAX_LOOPS] = {begin};
  int loops = nest->num_loops;
  for (;;) {
    for (int i = 0; i < nest->num_in; i++)
      file[i] = walk_read(&in[i], counter, loops);
    int64_t at[ANAS_MAX_RESULTS];
    for (int j = 0; j < nest->num_out; j++)
      file[FIRST_OUT + j] = out[j].data[at[j] = walk_at(&out[j], counter, loops)];
    for (int p = 0; p < count; p++) {
      const struct instruction *instruction = &program[p];
      cell arg[MAX_ARGS] = {{0}};
      for (int a = 0; a < instruction->operation->num_args; a++)
        arg[a] = file[instruction->arg[a]];
      file[instruction->target] = instruction->operation->run ? instruction->operation->run(instruction, arg)
                                                              : (cell){.i = counter[instruction->constant.i]};
    }
    for (int j = 0; j < nest->num_out; j++)
      out[j].data[at[j]] = file[yield[j]];
    int k = loops - 1;
    while (k >= 0 && ++counter[k] == (k ? nest->extent[k] : end))
      counter[k--] = 0;
    if (k < 0) return ANAS_OK;
  }
}

anas_status nest_interpret(struct nest_memory *memory, const struct anas_nest *nest) {
  return nest_interpret_part(memory, nest, 0, nest->num_loops ? nest->extent[0] : 1, true);
}

anas_status nest_interpret_from(struct nest_memory *memory, int first) {
  for (int i = first; i < memory->lowering->num_nests; i++)
    if (nest_interpret(memory, memory->lowering->nests[i]) != ANAS_OK)
      return anas_fail_context(ANAS_UNSUPPORTED, "nest '%s': ", memory->lowering->nests[i]->kind);
  return ANAS_OK;
}
