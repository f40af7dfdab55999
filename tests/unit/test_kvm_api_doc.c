/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docs/kvm-api.md (argument 1) names each ioctl and capability that there is, and no other. */
#include "capability.h"
#include "ioctl_table.h"

#include <stdio.h>
#include <string.h>

static int complaints;

static void complain(const char *what, const char *name, const char *section)
{
    printf("# %s: %s (%s)\n", what, name, section);
    complaints++;
}

struct section {
    const char *heading;
    const struct ioctl_table *table;    /* NULL: the capabilities */
    unsigned seen;
};

static struct section sections[] = {
    { "## System ioctls", &system_ioctls },
    { "## VM ioctls", &vm_ioctls },
    { "## vCPU ioctls", &vcpu_ioctls },
    { "## guest_memfd ioctls", &guest_memfd_ioctls },
    { "## Capabilities", NULL },
};

static bool exists(const struct section *section, const char *name)
{
    if (!section->table) {
        for (size_t i = 0; i < nr_capability_rows; i++) {
            if (!strcmp(capability_rows[i].name, name))
                return true;
        }
        return false;
    }
    for (size_t i = 0; i < section->table->count; i++) {
        if (!strcmp(section->table->rows[i].name, name))
            return true;
    }
    return false;
}

static size_t expected(const struct section *section)
{
    return section->table ? section->table->count : nr_capability_rows;
}

/* A row of a table: | `NAME` | ... */
static void check_row(struct section *section, const char *line)
{
    char name[100];

    if (sscanf(line, "| `%99[A-Z0-9_]`", name) != 1)
        return;
    if (section->table && strstr(line, "| absent |")) {
        if (exists(section, name))
            complain("absent in the document, but there", name, section->heading);
        return;
    }
    if (exists(section, name))
        section->seen++;
    else
        complain("in the document only", name, section->heading);
}

int main(int argc, char **argv)
{
    FILE *doc = argc > 1 ? fopen(argv[1], "r") : NULL;
    struct section *section = NULL;
    char line[1000];

    if (!doc) {
        printf("Bail out! no document\n");
        return 1;
    }
    while (fgets(line, sizeof(line), doc)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "## ", 3))
            section = NULL;
        for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
            if (!strcmp(line, sections[i].heading))
                section = &sections[i];
        }
        if (section)
            check_row(section, line);
    }
    fclose(doc);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (sections[i].seen != expected(&sections[i]))
            complain("rows are missing or doubled", "", sections[i].heading);
    }
    printf("1..1\n%sok 1 - document and tables agree\n", complaints ? "not " : "");
    return complaints != 0;
}
