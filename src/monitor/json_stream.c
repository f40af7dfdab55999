/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reading half of json_stream.h: bytes to tokens to values.  RFC 8259 with
 * QEMU's extensions: single quotes around strings, and \' in them.
 *
 * After an error the reader finds its way back without a word:
 *   - grammar (a missing colon): the rest of the message is skipped, until its
 *     brackets are balanced or the line ends;
 *   - a byte that can't be there: the next '{', or the next line, starts anew;
 *   - a limit: the next line starts anew;
 *   - 0xFF, which no UTF-8 text holds: always one error, and a clean start.
 */
#include "json_stream.h"

#include <math.h>
#include <string.h>

enum lex_state { LEX_START, LEX_STRING, LEX_NUMBER, LEX_KEYWORD };

enum expect {
    EXPECT_VALUE, EXPECT_VALUE_OR_END, EXPECT_KEY, EXPECT_KEY_OR_END, EXPECT_COLON,
    EXPECT_SEPARATOR,
};

enum skip { SKIP_NONE, SKIP_BALANCED, SKIP_TO_OBJECT, SKIP_LINE };

struct frame {
    struct json_object *container;
    char *key;                  /* of the member that is being read */
};

struct json_stream {
    json_message_fn *message;
    void *opaque;

    enum lex_state lex;
    char quote;
    bool backslash;             /* in a string: the next byte is escaped */
    GString *token;             /* text so far; of a string, what is between the quotes */

    enum expect expect;
    GArray *stack;              /* struct frame, outermost first */
    size_t tokens, bytes;       /* of this message */

    enum skip skip;
    int skip_depth;
};

struct json_stream *json_stream_new(json_message_fn *message, void *opaque)
{
    struct json_stream *s = g_new0(struct json_stream, 1);

    s->message = message;
    s->opaque = opaque;
    s->token = g_string_new(NULL);
    s->stack = g_array_new(FALSE, FALSE, sizeof(struct frame));
    return s;
}

/* --- State --- */

static struct frame *top(struct json_stream *s)
{
    return s->stack->len ? &g_array_index(s->stack, struct frame, s->stack->len - 1) : NULL;
}

/* Give a large token's memory back. */
static void clear_token(struct json_stream *s)
{
    enum { KEEP = 64 * 1024 };

    if (s->token->allocated_len > KEEP) {
        g_string_free(s->token, TRUE);
        s->token = g_string_new(NULL);
    }
    g_string_truncate(s->token, 0);
    s->lex = LEX_START;
    s->backslash = false;
}

/* Forget the unfinished message. */
static void clear_message(struct json_stream *s)
{
    /* Containers belong to those around them; only the outermost is ours. */
    if (s->stack->len)
        json_object_put(g_array_index(s->stack, struct frame, 0).container);
    for (guint i = 0; i < s->stack->len; i++)
        g_free(g_array_index(s->stack, struct frame, i).key);
    g_array_set_size(s->stack, 0);
    s->expect = EXPECT_VALUE;
    s->tokens = s->bytes = 0;
}

void json_stream_free(struct json_stream *s)
{
    if (!s)
        return;
    clear_message(s);
    g_array_free(s->stack, TRUE);
    g_string_free(s->token, TRUE);
    g_free(s);
}

static void report(struct json_stream *s, const char *text)
{
    if (s->skip == SKIP_NONE)
        s->message(s->opaque, NULL, text);
}

/* Against the grammar: skip what is left of the message. */
static void grammar_error(struct json_stream *s, const char *what)
{
    g_autofree char *text = g_strconcat("JSON parse error, ", what, NULL);
    int depth = (int)s->stack->len;

    report(s, text);
    clear_message(s);
    if (s->skip == SKIP_NONE && depth) {
        s->skip = SKIP_BALANCED;
        s->skip_depth = depth;
    }
}

static char *shown(const char *text, size_t size)
{
    enum { SHOWN_MAX = 64 };

    return g_utf8_make_valid(text, (gssize)MIN(size, SHOWN_MAX));
}

static void keyword_error(struct json_stream *s)
{
    g_autofree char *word = shown(s->token->str, s->token->len);
    g_autofree char *what = g_strdup_printf("invalid keyword '%s'", word);

    grammar_error(s, what);
}

/* Not a token at all: the next object starts anew. */
static void stray_error(struct json_stream *s, const char *text, size_t size)
{
    g_autofree char *valid = shown(text, size);
    g_autofree char *message = g_strdup_printf("JSON parse error, stray '%s'", valid);

    report(s, message);
    clear_message(s);
    clear_token(s);
    s->skip = SKIP_TO_OBJECT;
}

static void limit_error(struct json_stream *s, const char *text)
{
    report(s, text);
    clear_message(s);
    clear_token(s);
    s->skip = SKIP_LINE;
}

/* --- Grammar --- */

static void deliver(struct json_stream *s, struct json_object *value)
{
    s->expect = EXPECT_VALUE;
    s->tokens = s->bytes = 0;
    s->message(s->opaque, value, NULL);
}

/* A whole value, our reference: into its container, or out. */
static void add_value(struct json_stream *s, struct json_object *value)
{
    struct frame *frame = top(s);

    if (!frame) {
        deliver(s, value);
        return;
    }
    if (frame->key) {
        json_object_object_add(frame->container, frame->key, value);
        g_clear_pointer(&frame->key, g_free);
    } else {
        json_object_array_add(frame->container, value);
    }
    s->expect = EXPECT_SEPARATOR;
}

static bool wants_value(const struct json_stream *s)
{
    return s->expect == EXPECT_VALUE || s->expect == EXPECT_VALUE_OR_END;
}

/* Why a value can't be here. */
static const char *value_refusal(struct json_stream *s)
{
    struct frame *frame = top(s);

    switch (s->expect) {
    case EXPECT_COLON:
        return "missing : in object pair";
    case EXPECT_SEPARATOR:
        return json_object_is_type(frame->container, json_type_object)
                   ? "expected separator in dict" : "expected separator in list";
    default:
        return "key is not a string in object";
    }
}

/* Takes the value, in any case. */
static void scalar(struct json_stream *s, struct json_object *value)
{
    if (wants_value(s)) {
        add_value(s, value);
        return;
    }
    json_object_put(value);
    grammar_error(s, value_refusal(s));
}

static void open_container(struct json_stream *s, char bracket)
{
    struct frame frame = { NULL, NULL };

    if (!wants_value(s)) {
        grammar_error(s, value_refusal(s));
        if (s->skip == SKIP_BALANCED)
            s->skip_depth++;
        return;
    }
    if (s->stack->len == JSON_DEPTH_MAX) {
        limit_error(s, "JSON nesting depth limit exceeded");
        return;
    }
    frame.container = bracket == '{' ? json_object_new_object() : json_object_new_array();
    if (s->stack->len)
        add_value(s, frame.container);
    g_array_append_val(s->stack, frame);
    s->expect = bracket == '{' ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
}

static void close_container(struct json_stream *s, char bracket)
{
    struct frame *frame = top(s);
    bool object = frame && json_object_is_type(frame->container, json_type_object);

    if (!frame || object != (bracket == '}') ||
        (s->expect != EXPECT_SEPARATOR &&
         s->expect != (object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END))) {
        grammar_error(s, "expecting value");
        if (s->skip == SKIP_BALANCED && --s->skip_depth <= 0)
            s->skip = SKIP_NONE;
        return;
    }
    struct json_object *container = frame->container;

    g_array_set_size(s->stack, s->stack->len - 1);
    if (s->stack->len == 0)
        deliver(s, container);
    else
        s->expect = EXPECT_SEPARATOR;
}

static void colon(struct json_stream *s)
{
    if (s->expect == EXPECT_COLON)
        s->expect = EXPECT_VALUE;
    else
        grammar_error(s, s->expect == EXPECT_SEPARATOR ? value_refusal(s) : "expecting value");
}

static void comma(struct json_stream *s)
{
    if (s->expect == EXPECT_SEPARATOR)
        s->expect = json_object_is_type(top(s)->container, json_type_object) ? EXPECT_KEY
                                                                             : EXPECT_VALUE;
    else
        grammar_error(s, s->expect == EXPECT_COLON ? "missing : in object pair"
                                                   : "expecting value");
}

static void punctuation(struct json_stream *s, char c)
{
    static const struct {
        char c;
        void (*run)(struct json_stream *s, char c);
    } containers[] = {
        { '{', open_container }, { '[', open_container },
        { '}', close_container }, { ']', close_container },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(containers); i++) {
        if (containers[i].c == c) {
            containers[i].run(s, c);
            return;
        }
    }
    if (c == ':')
        colon(s);
    else
        comma(s);
}

static void key(struct json_stream *s, const GString *text)
{
    struct frame *frame = top(s);

    if (json_object_object_get_ex(frame->container, text->str, NULL)) {
        grammar_error(s, "duplicate key");
        return;
    }
    frame->key = g_strdup(text->str);
    s->expect = EXPECT_COLON;
}

/* --- Tokens with text --- */

/* Four hex digits at text, -1: they aren't. */
static int hex4(const char *text, const char *end)
{
    int value = 0;

    if (end - text < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        if (!g_ascii_isxdigit(text[i]))
            return -1;
        value = value * 16 + g_ascii_xdigit_value(text[i]);
    }
    return value;
}

/* \uXXXX, or a pair of surrogates; *text is behind the 'u'. False: no character. */
static bool unescape_unicode(const char **text, const char *end, GString *out)
{
    int high = hex4(*text, end), low;

    if (high < 0)
        return false;
    *text += 4;
    if (high == 0) {
        /* NUL as two bytes, which C strings survive; json_append() knows them. */
        g_string_append(out, "\xc0\x80");
        return true;
    }
    if (high >= 0xd800 && high < 0xe000) {
        if (high >= 0xdc00 || end - *text < 6 || (*text)[0] != '\\' || (*text)[1] != 'u')
            return false;
        low = hex4(*text + 2, end);
        if (low < 0xdc00 || low >= 0xe000)
            return false;
        *text += 6;
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    g_string_append_unichar(out, (gunichar)high);
    return true;
}

/* NULL: an escape sequence is wrong. */
static GString *unescape(const GString *raw)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    GString *out = g_string_sized_new(raw->len);
    const char *p = raw->str, *end = p + raw->len;

    while (p < end) {
        const char *escape = memchr(p, '\\', (size_t)(end - p));
        const char *found;

        g_string_append_len(out, p, (escape ? escape : end) - p);
        if (!escape)
            break;
        p = escape + 2;         /* the lexer never ends a string on a single backslash */
        found = escape[1] ? strchr(from, escape[1]) : NULL;
        if (found) {
            g_string_append_c(out, to[found - from]);
        } else if (escape[1] != 'u' || !unescape_unicode(&p, end, out)) {
            g_string_free(out, TRUE);
            return NULL;
        }
    }
    return out;
}

static void string_token(struct json_stream *s)
{
    GString *text;

    if (s->expect != EXPECT_KEY && s->expect != EXPECT_KEY_OR_END && !wants_value(s)) {
        grammar_error(s, value_refusal(s));
        return;
    }
    if (!g_utf8_validate_len(s->token->str, s->token->len, NULL)) {
        grammar_error(s, "invalid UTF-8 sequence in string");
        return;
    }
    text = unescape(s->token);
    if (!text) {
        grammar_error(s, "invalid escape sequence in string");
        return;
    }
    if (wants_value(s))
        add_value(s, json_object_new_string_len(text->str, (int)text->len));
    else
        key(s, text);
    g_string_free(text, TRUE);
}

static const char *skip_digits(const char *p)
{
    while (g_ascii_isdigit(*p))
        p++;
    return p;
}

/* RFC 8259's grammar. *integer: neither fraction nor exponent. */
static bool number_valid(const char *p, bool *integer)
{
    const char *digits;

    p += *p == '-';
    digits = p;
    p = skip_digits(p);
    if (p == digits || (digits[0] == '0' && p - digits > 1))
        return false;
    *integer = *p == '\0';
    if (*p == '.') {
        digits = ++p;
        p = skip_digits(p);
        if (p == digits)
            return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+' || *p == '-';
        digits = p;
        p = skip_digits(p);
        if (p == digits)
            return false;
    }
    return *p == '\0';
}

/* Exact where 64 bits hold it, else a double; NULL: not even that. */
static struct json_object *number_value(const char *text, bool integer)
{
    gint64 i;
    guint64 u;
    double d;

    if (integer && g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &i, NULL))
        return json_object_new_int64(i);
    if (integer && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &u, NULL))
        return json_object_new_uint64(u);
    d = g_ascii_strtod(text, NULL);
    return isfinite(d) ? json_object_new_double(d) : NULL;
}

static void number_token(struct json_stream *s)
{
    struct json_object *value;
    bool integer;

    if (!number_valid(s->token->str, &integer)) {
        stray_error(s, s->token->str, s->token->len);
        return;
    }
    value = number_value(s->token->str, integer);
    if (value)
        scalar(s, value);
    else
        grammar_error(s, "number out of range");
}

static void keyword_token(struct json_stream *s)
{
    const char *word = s->token->str;

    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
        scalar(s, json_object_new_boolean(word[0] == 't'));
    else if (strcmp(word, "null") == 0)
        scalar(s, NULL);
    else
        keyword_error(s);
}

/* Count a token; false: the message is too large. */
static bool within_limits(struct json_stream *s, size_t bytes)
{
    if (s->bytes + bytes > JSON_BYTES_MAX) {
        limit_error(s, "JSON token size limit exceeded");
        return false;
    }
    s->bytes += bytes;
    if (++s->tokens > JSON_TOKENS_MAX) {
        limit_error(s, "JSON token count limit exceeded");
        return false;
    }
    return true;
}

static void token_done(struct json_stream *s)
{
    enum lex_state lex = s->lex;

    s->lex = LEX_START;
    if (s->skip == SKIP_NONE && within_limits(s, s->token->len)) {
        if (lex == LEX_STRING)
            string_token(s);
        else if (lex == LEX_NUMBER)
            number_token(s);
        else
            keyword_token(s);
    }
    clear_token(s);
}

/* --- Bytes --- */

static bool is_number_byte(uint8_t c)
{
    return g_ascii_isdigit(c) || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
}

static void skip_bracket(struct json_stream *s, uint8_t c)
{
    if (c == '{' || c == '[')
        s->skip_depth++;
    else if ((c == '}' || c == ']') && --s->skip_depth <= 0)
        s->skip = SKIP_NONE;
}

static void start_byte(struct json_stream *s, uint8_t c)
{
    if (c == '"' || c == '\'') {
        s->lex = LEX_STRING;
        s->quote = (char)c;
    } else if (c == '-' || g_ascii_isdigit(c)) {
        s->lex = LEX_NUMBER;
        g_string_append_c(s->token, (char)c);
    } else if (g_ascii_islower(c)) {
        s->lex = LEX_KEYWORD;
        g_string_append_c(s->token, (char)c);
    } else if (c && strchr("{}[]:,", c)) {
        if (s->skip == SKIP_BALANCED)
            skip_bracket(s, c);
        else if (within_limits(s, 1))
            punctuation(s, (char)c);
    } else if (s->skip == SKIP_NONE) {
        stray_error(s, (const char *)&c, 1);
    }
}

/*
 * As much of a string as there is, up to its quote; the number of bytes used.
 * While skipping nothing is kept.
 */
static size_t string_bytes(struct json_stream *s, const uint8_t *data, size_t size)
{
    size_t n = 0;
    bool done = false;

    while (n < size && !done) {
        uint8_t c = data[n];

        if (c < 0x20 || c >= 0xfe)
            break;
        if (s->backslash)
            s->backslash = false;
        else if (c == '\\')
            s->backslash = true;
        else
            done = c == (uint8_t)s->quote;
        n++;
    }
    if (s->skip == SKIP_NONE) {
        if (s->bytes + s->token->len + n > JSON_BYTES_MAX) {
            limit_error(s, "JSON token size limit exceeded");
            return n;
        }
        g_string_append_len(s->token, (const char *)data, (gssize)(n - done));
    }
    if (done)
        token_done(s);
    else if (n < size && data[n] != 0xff)   /* no string holds it (0xFF: json_stream_feed()) */
        stray_error(s, (const char *)&data[n], 1);
    return n;
}

/* One byte that is in no string; false: it belongs to what follows a token that it ended. */
static bool plain_byte(struct json_stream *s, uint8_t c)
{
    bool more = s->lex == LEX_NUMBER ? is_number_byte(c)
              : s->lex == LEX_KEYWORD ? g_ascii_islower(c) : false;

    if (more) {
        if (s->bytes + s->token->len >= JSON_BYTES_MAX)
            limit_error(s, "JSON token size limit exceeded");
        else if (s->skip == SKIP_NONE)
            g_string_append_c(s->token, (char)c);
        return true;
    }
    if (s->lex != LEX_START) {
        token_done(s);
        return false;
    }
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
        start_byte(s, c);
    return true;
}

/* 0xFF: start anew, and say so. */
static void reset_byte(struct json_stream *s)
{
    s->skip = SKIP_NONE;
    stray_error(s, "\xff", 1);
    s->skip = SKIP_NONE;
}

/* True: the byte is skipped, or has just ended the skipping. */
static bool skip_byte(struct json_stream *s, uint8_t c)
{
    if (c == '\n') {
        s->skip = SKIP_NONE;
        clear_token(s);
        return true;
    }
    if (s->skip == SKIP_TO_OBJECT && c == '{') {
        s->skip = SKIP_NONE;
        return false;
    }
    return s->skip == SKIP_TO_OBJECT || s->skip == SKIP_LINE;
}

void json_stream_feed(struct json_stream *s, const void *data, size_t size)
{
    const uint8_t *p = data, *end = p + size;

    while (p < end) {
        if (*p == 0xff) {
            if (s->lex == LEX_NUMBER || s->lex == LEX_KEYWORD)
                token_done(s);
            reset_byte(s);
            p++;
        } else if (s->skip != SKIP_NONE && skip_byte(s, *p)) {
            p++;
        } else if (s->lex == LEX_STRING) {
            p += string_bytes(s, p, (size_t)(end - p));
        } else {
            p += plain_byte(s, *p);
        }
    }
}
