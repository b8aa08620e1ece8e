// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// PTX text to instructions: the subset our code generator emits.
#include "runtime/device/ptxsim.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPERANDS 12

struct label {
  char name[48];
  int instruction;
};

struct bank { // registers of one kind: %r<372>
  char prefix[4];
  int first, stride; // words
  int count;
};

struct parser {
  const char *at;
  int line;
  struct ptx_function *function;
  size_t capacity_instructions, capacity_constants;
  struct bank banks[8];
  int num_banks;
  struct label *labels, *branches; // branches: instructions that jump to a name
  size_t num_labels, capacity_labels, num_branches, capacity_branches;
  char shared_name[64];
};

static anas_status fail(const struct parser *p, const char *what, const char *text) {
  return anas_fail(ANAS_UNSUPPORTED, "ptxsim: line %d: %s '%.60s'", p->line, what, text);
}

// ---- operands

static int new_register(struct parser *p, bool wide) {
  int reg = p->function->num_words;
  p->function->num_words += wide ? 2 * PTX_LANES : PTX_LANES;
  return reg;
}

static int constant(struct parser *p, uint64_t value, bool wide) {
  struct ptx_function *f = p->function;
  for (size_t i = 0; i < f->num_constants; i++)
    if (f->constants[i].value == value && f->constants[i].wide == wide) return f->constants[i].reg;
  struct ptx_constant item = {new_register(p, wide), wide, value};
  f->constants = anas_grow(f->constants, f->num_constants, &p->capacity_constants, sizeof item);
  f->constants[f->num_constants++] = item;
  return item.reg;
}

static bool is_wide(enum ptx_type type) {
  return type == PTX_U64 || type == PTX_S64;
}

// A register, an immediate, a special register or the name of the shared array.
static anas_status operand(struct parser *p, const char *text, enum ptx_type type, int *out) {
  static const char *const special[] = {"%tid.x", "%ctaid.x", "%ctaid.y", "%ctaid.z"};
  if (*text == '%') {
    for (int i = 0; i < 4; i++)
      if (!strcmp(text, special[i])) {
        *out = i ? p->function->block[i - 1] : p->function->thread;
        return ANAS_OK;
      }
    size_t length = strcspn(text + 1, "0123456789");
    for (int b = 0; b < p->num_banks; b++) {
      struct bank *bank = &p->banks[b];
      if (strlen(bank->prefix) != length || strncmp(bank->prefix, text + 1, length) != 0) continue;
      char *end;
      long number = strtol(text + 1 + length, &end, 10);
      if (*end || number < 0 || number >= bank->count) break;
      *out = bank->first + (int)number * bank->stride;
      return ANAS_OK;
    }
    return fail(p, "unknown register", text);
  }
  if (!strcmp(text, "_")) { // nowhere
    *out = new_register(p, is_wide(type));
    return ANAS_OK;
  }
  char *end;
  uint64_t value;
  if (!strncmp(text, "0f", 2) || !strncmp(text, "0F", 2))
    value = strtoull(text + 2, &end, 16);
  else if (isdigit((unsigned char)*text) || *text == '-')
    value = (uint64_t)strtoll(text, &end, 0);
  else if (p->shared_name[0] && !strcmp(text, p->shared_name)) {
    value = 0;
    end = (char *)text + strlen(text);
  } else
    return fail(p, "unknown operand", text);
  if (*end) return fail(p, "unknown operand", text);
  *out = constant(p,
                  is_wide(type)                        ? value
                  : type == PTX_U16 || type == PTX_S16 ? value & 0xffff
                                                       : value & 0xffffffff,
                  is_wide(type));
  return ANAS_OK;
}

// "[%rd10+128]", "[k_shared+16]", "[param]"
static anas_status address(struct parser *p, char *text, bool shared, struct ptx_instruction *out, int *out_register) {
  size_t length = strlen(text);
  if (length < 3 || text[0] != '[' || text[length - 1] != ']') return fail(p, "not an address:", text);
  text[length - 1] = '\0';
  char *plus = strchr(++text, '+');
  if (plus) {
    out->offset = strtoll(plus + 1, NULL, 10);
    *plus = '\0';
  }
  return operand(p, text, shared ? PTX_U32 : PTX_U64, out_register);
}

// Splits "a, {b, c}, [d+4]" at the outer commas, dropping braces: {b, c} gives two operands.
static int split(char *text, char **out) {
  int num = 0;
  for (char *word = text; *word && num < MAX_OPERANDS;) {
    word += strspn(word, " \t\n,{}");
    if (!*word) break;
    size_t length = strcspn(word, ",{}\n");
    char *next = word + length;
    while (length && isspace((unsigned char)word[length - 1]))
      length--;
    bool last = !*next;
    word[length] = '\0';
    out[num++] = word;
    word = last ? next : next + 1;
  }
  return num;
}

// ---- instructions

static bool read_type(const char *name, enum ptx_type *out) {
  static const struct {
    const char *name;
    enum ptx_type type;
  } types[] = {{"u16", PTX_U16}, {"s16", PTX_S16}, {"b16", PTX_U16},  {"u32", PTX_U32},
               {"s32", PTX_S32}, {"b32", PTX_U32}, {"u64", PTX_U64},  {"s64", PTX_S64},
               {"b64", PTX_U64}, {"f32", PTX_F32}, {"pred", PTX_PRED}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(name, types[i].name)) {
      *out = types[i].type;
      return true;
    }
  return false;
}

static const struct {
  const char *name;
  enum ptx_op op;
  int sources;
} plain[] = {
    {"mov", PTX_MOV, 1},   {"cvta", PTX_MOV, 1}, {"add", PTX_ADD, 2},   {"sub", PTX_SUB, 2}, {"mul", PTX_MUL, 2},
    {"mad", PTX_MAD, 3},   {"fma", PTX_FMA, 3},  {"min", PTX_MIN, 2},   {"max", PTX_MAX, 2}, {"neg", PTX_NEG, 1},
    {"abs", PTX_ABS, 1},   {"and", PTX_AND, 2},  {"or", PTX_OR, 2},     {"xor", PTX_XOR, 2}, {"not", PTX_NOT, 1},
    {"shl", PTX_SHL, 2},   {"shr", PTX_SHR, 2},  {"bfe", PTX_BFE, 3},   {"div", PTX_DIV, 2}, {"rem", PTX_REM, 2},
    {"sqrt", PTX_SQRT, 1}, {"rcp", PTX_RCP, 1},  {"selp", PTX_SELP, 3},
};

static bool has(char **parts, int num, const char *name) {
  for (int i = 1; i < num; i++)
    if (!strcmp(parts[i], name)) return true;
  return false;
}

static anas_status decode_memory(struct parser *p, char **parts, int num_parts, char **words, int num,
                                 struct ptx_instruction *out) {
  bool load = !strcmp(parts[0], "ld");
  out->op = load ? PTX_LD : PTX_ST;
  out->shared = has(parts, num_parts, "shared");
  out->count = has(parts, num_parts, "v4") ? 4 : has(parts, num_parts, "v2") ? 2 : 1;
  if (num != out->count + 1) return fail(p, "wrong number of operands of", parts[0]);
  enum ptx_type type = (enum ptx_type)out->type;
  if (has(parts, num_parts, "param")) {
    const char *number = strrchr(words[1], '_');
    int parameter = number ? atoi(number + 1) : -1;
    if (parameter < 0 || parameter >= p->function->num_parameters) return fail(p, "unknown parameter", words[1]);
    out->op = PTX_MOV;
    out->source[0] = p->function->parameter[parameter];
    return operand(p, words[0], type, &out->destination[0]);
  }
  if (!out->shared && !has(parts, num_parts, "global")) return fail(p, "unknown memory of", parts[0]);
  for (int i = 0; i < out->count; i++)
    ANAS_RETURN_IF_ERROR(operand(p, words[load ? i : i + 1], type, load ? &out->destination[i] : &out->source[i + 1]));
  return address(p, words[load ? num - 1 : 0], out->shared, out, &out->source[0]);
}

static anas_status decode_compare(struct parser *p, char **parts, char **words, int num, struct ptx_instruction *out) {
  static const char *const names[] = {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu"};
  out->op = PTX_SETP;
  int c = 0;
  while (c < 12 && strcmp(parts[1], names[c]) != 0)
    c++;
  if (c == 12 || num != 3) return fail(p, "unknown comparison", parts[1]);
  out->compare = (uint8_t)c;
  ANAS_RETURN_IF_ERROR(operand(p, words[0], PTX_PRED, &out->destination[0]));
  for (int i = 0; i < 2; i++)
    ANAS_RETURN_IF_ERROR(operand(p, words[i + 1], (enum ptx_type)out->type, &out->source[i]));
  return ANAS_OK;
}

static anas_status decode_convert(struct parser *p, char **parts, int num_parts, char **words, int num,
                                  struct ptx_instruction *out) {
  enum ptx_type from = (enum ptx_type)out->type, to;
  bool pair = has(parts, num_parts, "bf16x2");
  if (num != 2 + pair) return fail(p, "wrong number of operands of", parts[0]);
  if (pair || has(parts, num_parts, "bf16")) {
    if (num_parts != 4 || strcmp(parts[1], "rn") != 0 || from != PTX_F32)
      return fail(p, "unknown variant of", parts[0]);
    out->op = PTX_CVT_BF16;
    out->count = pair ? 2 : 1;
    to = pair ? PTX_U32 : PTX_U16;
    if (pair) ANAS_RETURN_IF_ERROR(operand(p, words[2], from, &out->source[1]));
  } else if (has(parts, num_parts, "tf32")) {
    out->op = PTX_CVT_TF32;
    to = PTX_U32;
  } else {
    out->op = PTX_CVT;
    if (!read_type(parts[num_parts - 2], &to)) return fail(p, "unknown type", parts[num_parts - 2]);
    if (from == PTX_F32 && !has(parts, num_parts, "rzi")) return fail(p, "unknown rounding of", parts[0]);
    out->count = (uint8_t)from;
  }
  out->type = (uint8_t)to;
  ANAS_RETURN_IF_ERROR(operand(p, words[0], to, &out->destination[0]));
  return operand(p, words[1], from, &out->source[0]);
}

static anas_status decode_mma(struct parser *p, const char *name, char **words, int num, struct ptx_instruction *out) {
  bool bf16 = !strcmp(name, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32");
  if ((!bf16 && strcmp(name, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32") != 0) || num != 14)
    return fail(p, "unknown instruction", name);
  out->op = bf16 ? PTX_MMA_BF16 : PTX_MMA_TF32;
  for (int i = 0; i < 4; i++)
    ANAS_RETURN_IF_ERROR(operand(p, words[i], PTX_F32, &out->destination[i]));
  for (int i = 0; i < 10; i++)
    ANAS_RETURN_IF_ERROR(operand(p, words[i + 4], PTX_F32, &out->source[i]));
  return ANAS_OK;
}

static anas_status decode_matrices(struct parser *p, const char *name, char **words, int num,
                                   struct ptx_instruction *out) {
  out->count = !strcmp(name, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16");
  if ((!out->count && strcmp(name, "ldmatrix.sync.aligned.m8n8.x4.shared.b16") != 0) || num != 5)
    return fail(p, "unknown instruction", name);
  out->op = PTX_LDMATRIX;
  out->shared = true;
  for (int i = 0; i < 4; i++)
    ANAS_RETURN_IF_ERROR(operand(p, words[i], PTX_U32, &out->destination[i]));
  return address(p, words[4], true, out, &out->source[0]);
}

// "[to], [from], 16" or "[to], [from], 16, bytes to read"; commit_group; wait_group N; wait_all
static anas_status decode_async(struct parser *p, const char *name, char **words, int num,
                                struct ptx_instruction *out) {
  if (!strcmp(name, "cp.async.commit_group")) {
    out->op = PTX_COMMIT;
    return ANAS_OK;
  }
  if (!strcmp(name, "cp.async.wait_all") || (!strcmp(name, "cp.async.wait_group") && num == 1)) {
    out->op = PTX_WAIT;
    out->offset = num ? strtoll(words[0], NULL, 10) : -1;
    return ANAS_OK;
  }
  bool cg = !strcmp(name, "cp.async.cg.shared.global");
  int size = num >= 3 ? atoi(words[2]) : 0;
  if ((!cg && strcmp(name, "cp.async.ca.shared.global") != 0) || num > 4 ||
      (size != 16 && (cg || (size != 4 && size != 8))))
    return fail(p, "unknown instruction", name);
  out->op = PTX_COPY;
  out->shared = true;
  out->count = (uint8_t)size;
  out->source[2] = -1;
  if (num == 4) ANAS_RETURN_IF_ERROR(operand(p, words[3], PTX_U32, &out->source[2]));
  ANAS_RETURN_IF_ERROR(address(p, words[1], false, out, &out->source[1]));
  out->from_offset = out->offset;
  out->offset = 0;
  return address(p, words[0], true, out, &out->source[0]);
}

static anas_status decode_plain(struct parser *p, char **parts, int num_parts, char **words, int num,
                                struct ptx_instruction *out) {
  enum ptx_type type = (enum ptx_type)out->type;
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
    if (strcmp(parts[0], plain[i].name) != 0) continue;
    out->op = (uint8_t)plain[i].op;
    bool wide = has(parts, num_parts, "wide");
    if (wide && out->op == PTX_MUL) out->op = PTX_MUL_WIDE;
    if (has(parts, num_parts, "hi")) out->op = PTX_MUL_HIGH;
    if ((wide && out->op == PTX_MAD) || has(parts, num_parts, "sat") || has(parts, num_parts, "ftz") ||
        has(parts, num_parts, "approx") || has(parts, num_parts, "NaN"))
      return fail(p, "unknown variant of", parts[0]);
    if (out->op == PTX_MOV && num == 3) { // {low, high}
      enum ptx_type half = is_wide(type) ? PTX_U32 : PTX_U16;
      bool unpack = out->count == 2;
      out->op = unpack ? PTX_UNPACK : PTX_PACK;
      ANAS_RETURN_IF_ERROR(operand(p, words[unpack ? 2 : 0], type, unpack ? &out->source[0] : &out->destination[0]));
      ANAS_RETURN_IF_ERROR(operand(p, words[!unpack], half, unpack ? &out->destination[0] : &out->source[0]));
      return operand(p, words[1 + !unpack], half, unpack ? &out->destination[1] : &out->source[1]);
    }
    if (num != plain[i].sources + 1) {
      return fail(p, "wrong number of operands of", parts[0]);
    }
    ANAS_RETURN_IF_ERROR(operand(p, words[0], type, &out->destination[0]));
    for (int s = 0; s + 1 < num; s++) {
      bool small = ((out->op == PTX_SHL || out->op == PTX_SHR) && s == 1) || (out->op == PTX_BFE && s >= 1);
      enum ptx_type of = out->op == PTX_SELP && s == 2 ? PTX_PRED : small ? PTX_U32 : type;
      ANAS_RETURN_IF_ERROR(operand(p, words[s + 1], of, &out->source[s]));
    }
    return ANAS_OK;
  }
  return fail(p, "unknown instruction", parts[0]);
}

static void note_branch(struct parser *p, const char *name) {
  p->branches = anas_grow(p->branches, p->num_branches, &p->capacity_branches, sizeof *p->branches);
  struct label *branch = &p->branches[p->num_branches++];
  snprintf(branch->name, sizeof branch->name, "%s", name);
  branch->instruction = (int)p->function->num_instructions;
}

// One statement without its semicolon.
static anas_status statement(struct parser *p, char *text) {
  struct ptx_instruction out = {.guard = -1, .line = p->line};
  if (*text == '@') {
    out.guard_negated = text[1] == '!';
    char *name = text + 1 + out.guard_negated, *end = name + strcspn(name, " \t");
    if (*end) *end++ = '\0';
    ANAS_RETURN_IF_ERROR(operand(p, name, PTX_PRED, &out.guard));
    text = end + strspn(end, " \t");
  }
  char *name = text, *rest = text + strcspn(text, " \t\n");
  if (*rest) *rest++ = '\0';
  char whole[96], *parts[12], *words[MAX_OPERANDS + 4];
  snprintf(whole, sizeof whole, "%.95s", name);
  int num_parts = 0, num = 0;
  for (char *part = strtok(name, "."); part && num_parts < 12; part = strtok(NULL, "."))
    parts[num_parts++] = part;
  if (!num_parts) return fail(p, "not a statement:", text);
  if (!strncmp(whole, "mma.", 4)) {
    // Four groups: results, A, B, C.
    for (char *word = strtok(rest, " \t\n,{}"); word && num < 14; word = strtok(NULL, " \t\n,{}"))
      words[num++] = word;
    ANAS_RETURN_IF_ERROR(decode_mma(p, whole, words, num, &out));
  } else {
    out.count = rest[strspn(rest, " \t")] == '{' ? 2 : 0; // results in braces
    num = split(rest, words);
    enum ptx_type type = PTX_U32;
    bool typed = read_type(parts[num_parts - 1], &type);
    out.type = (uint8_t)type;
    if (!strcmp(parts[0], "bra")) {
      out.op = PTX_BRA;
      note_branch(p, num ? words[0] : "");
    } else if (!strcmp(parts[0], "ret")) {
      out.op = PTX_RET;
    } else if (!strncmp(whole, "cp.async.", 9)) {
      ANAS_RETURN_IF_ERROR(decode_async(p, whole, words, num, &out));
    } else if (!strncmp(whole, "ldmatrix.", 9)) {
      ANAS_RETURN_IF_ERROR(decode_matrices(p, whole, words, num, &out));
    } else if (!strcmp(whole, "bar.sync") || !strcmp(whole, "barrier.sync")) {
      out.op = PTX_BAR;
    } else if (!typed) {
      return fail(p, "unknown instruction", whole);
    } else if (!strcmp(parts[0], "ld") || !strcmp(parts[0], "st")) {
      ANAS_RETURN_IF_ERROR(decode_memory(p, parts, num_parts, words, num, &out));
    } else if (!strcmp(parts[0], "setp")) {
      ANAS_RETURN_IF_ERROR(decode_compare(p, parts, words, num, &out));
    } else if (!strcmp(parts[0], "cvt")) {
      ANAS_RETURN_IF_ERROR(decode_convert(p, parts, num_parts, words, num, &out));
    } else {
      ANAS_RETURN_IF_ERROR(decode_plain(p, parts, num_parts, words, num, &out));
    }
  }
  struct ptx_function *f = p->function;
  f->instructions = anas_grow(f->instructions, f->num_instructions, &p->capacity_instructions, sizeof out);
  f->instructions[f->num_instructions++] = out;
  return ANAS_OK;
}

// ---- functions

static anas_status directive(struct parser *p, const char *text) {
  char name[64];
  long long count;
  if (sscanf(text, ".reg .%*s %%%3[a-z]<%lld>", name, &count) == 2 && p->num_banks < 8 && count < 1 << 20) {
    bool wide = strstr(text, "64") != NULL && strstr(text, "64") < strchr(text, '%');
    struct bank *bank = &p->banks[p->num_banks++];
    *bank =
        (struct bank){.first = p->function->num_words, .stride = wide ? 2 * PTX_LANES : PTX_LANES, .count = (int)count};
    snprintf(bank->prefix, sizeof bank->prefix, "%.3s", name);
    p->function->num_words += bank->stride * bank->count;
    return ANAS_OK;
  }
  if (sscanf(text, ".shared .align %*d .b8 %63[^[][%lld]", name, &count) == 2 && !p->shared_name[0]) {
    snprintf(p->shared_name, sizeof p->shared_name, "%s", name);
    p->function->shared_bytes = count;
    return ANAS_OK;
  }
  return !strncmp(text, ".pragma", 7) ? ANAS_OK : fail(p, "unknown directive", text);
}

static void add_label(struct parser *p, const char *name, size_t length) {
  p->labels = anas_grow(p->labels, p->num_labels, &p->capacity_labels, sizeof *p->labels);
  struct label *label = &p->labels[p->num_labels++];
  snprintf(label->name, sizeof label->name, "%.*s", (int)length, name);
  label->instruction = (int)p->function->num_instructions;
}

static anas_status resolve(struct parser *p) {
  for (size_t b = 0; b < p->num_branches; b++) {
    size_t l = 0;
    while (l < p->num_labels && strcmp(p->labels[l].name, p->branches[b].name) != 0)
      l++;
    if (l == p->num_labels) return fail(p, "unknown label", p->branches[b].name);
    p->function->instructions[p->branches[b].instruction].target = p->labels[l].instruction;
  }
  return ANAS_OK;
}

static void skip_space(struct parser *p) {
  for (;;) {
    if (*p->at == '\n') p->line++;
    if (isspace((unsigned char)*p->at))
      p->at++;
    else if (!strncmp(p->at, "//", 2))
      p->at += strcspn(p->at, "\n");
    else
      return;
  }
}

static anas_status body(struct parser *p) {
  char text[1024];
  for (;;) {
    skip_space(p);
    if (!*p->at) return fail(p, "the text ends inside", p->function->name);
    if (*p->at == '}') break;
    size_t length = strcspn(p->at, ";:");
    if (p->at[length] == ':') {
      add_label(p, p->at, length);
      p->at += length + 1;
      continue;
    }
    if (p->at[length] != ';' || length >= sizeof text) return fail(p, "no end of", p->at);
    memcpy(text, p->at, length);
    text[length] = '\0';
    ANAS_RETURN_IF_ERROR(*text == '.' ? directive(p, text) : statement(p, text));
    for (size_t i = 0; i < length; i++)
      p->line += p->at[i] == '\n';
    p->at += length + 1;
  }
  p->at++;
  return resolve(p);
}

static anas_status function(struct parser *p) {
  struct ptx_function *f = p->function;
  p->at += strlen(".entry ");
  size_t length = strcspn(p->at, "(");
  f->name = anas_format("%.*s", (int)length, p->at);
  f->thread = new_register(p, false);
  for (int d = 0; d < 3; d++)
    f->block[d] = new_register(p, false);
  const char *open = strchr(p->at, '{');
  if (!open) return fail(p, "no body of", f->name);
  for (const char *at = p->at; (at = strstr(at, ".param .u64")) && at < open; at++) {
    if (f->num_parameters == 32) return fail(p, "too many parameters of", f->name);
    f->parameter[f->num_parameters++] = new_register(p, true);
  }
  const char *threads = strstr(p->at, ".maxntid");
  f->threads = threads && threads < open ? atoi(threads + strlen(".maxntid")) : 0;
  for (; p->at < open; p->at++)
    p->line += *p->at == '\n';
  p->at++;
  return body(p);
}

anas_status ptx_parse(const char *text, struct ptx_module *out) {
  struct ptx_module module = {0};
  size_t capacity = 0;
  anas_status status = ANAS_OK;
  int line = 1;
  if (strstr(text, ".extern"))
    return anas_fail(ANAS_INVALID, "ptxsim: unresolved symbol: %.80s", strstr(text, ".extern"));
  for (const char *at = text; status == ANAS_OK && (at = strstr(at, ".entry "));) {
    for (; text < at; text++)
      line += *text == '\n';
    module.functions = anas_grow(module.functions, module.num_functions, &capacity, sizeof *module.functions);
    struct parser parser = {.at = at, .line = line, .function = &module.functions[module.num_functions++]};
    *parser.function = (struct ptx_function){0};
    status = function(&parser);
    free(parser.labels);
    free(parser.branches);
    at = parser.at;
  }
  if (status == ANAS_OK && !module.num_functions) status = anas_fail(ANAS_INVALID, "ptxsim: no function in the text");
  if (status != ANAS_OK) {
    ptx_module_deinit(&module);
    return status;
  }
  *out = module;
  return ANAS_OK;
}

void ptx_module_deinit(struct ptx_module *module) {
  for (size_t i = 0; i < module->num_functions; i++) {
    free(module->functions[i].name);
    free(module->functions[i].instructions);
    free(module->functions[i].constants);
  }
  free(module->functions);
  *module = (struct ptx_module){0};
}
