/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   who may use the ioctls: as if pairs and logs were bytes of the root directory, and a
 *            compare-and-swap write a write to the file. Each case says what open(2) would do, and asks
 *            the kernel for files where it can.
 */
#include "conformance.h"
#include "records.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define ACL "system.posix_acl_access"
enum { NO_ID = -1 };
enum tag { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

struct entry {
	uint16_t tag, perm;
	uint32_t id;
};
struct acl {
	uint32_t version;
	struct entry entries[5];
};

static void set_acl(const char *path, enum tag tag, uint32_t id, unsigned perm, unsigned mask)
{
	struct acl acl = {.version = 2,
			  .entries = {{USER_OBJ, 7, NO_ID},
				      {tag == USER ? USER : GROUP_OBJ, tag == USER ? perm : 0,
				       tag == USER ? id : NO_ID},
				      {tag == USER ? GROUP_OBJ : GROUP, tag == USER ? 0 : perm,
				       tag == USER ? NO_ID : id},
				      {MASK, mask, NO_ID},
				      {OTHER, 5, NO_ID}}};

	OK(setxattr(path, ACL, &acl, sizeof acl, 0));
}

/* The root directory is "..": as a new mount has it, with these rights. */
static void root_is(mode_t mode, uid_t uid, gid_t gid)
{
	removexattr("..", ACL);
	OK(chown("..", uid, gid));
	OK(chmod("..", mode));
}

static void root_again(void)
{
	act_as_root();
	root_is(0755, 0, 0);
}

/* What the caller gets, as "rw" with '-' for what is refused with EACCES. */
static const char *rights(int fd)
{
	static char text[3];
	int reads = kv_get(fd, "rights") != NULL;

	YES(reads || errno == EACCES);
	int writes = !kv_put(fd, "rights", "v");
	YES(writes || errno == EACCES);
	/* logs are as pairs */
	EQ(!log_append(fd, "rights", "v"), writes);
	EQ(!log_verify(fd, "rights"), reads);
	snprintf(text, sizeof text, "%c%c", reads ? 'r' : '-', writes ? 'w' : '-');
	return text;
}

static int begin(void)
{
	root_again();
	int fd = OK(open(".", O_RDONLY | O_DIRECTORY));
	SAME(kv_get(fd, "rights") ? "rw" : (kv_put(fd, "rights", "v"), "rw"), "rw");
	OK(log_append(fd, "rights", "v"));
	return fd;
}

static const char *rights_as(int fd, uid_t uid, gid_t gid, long extra)
{
	act_as(uid, gid, extra);
	const char *found = rights(fd);
	act_as_root();
	return found;
}

CASE(access_by_the_mode_of_the_root_directory)
{
	int fd = begin();

	SAME(rights_as(fd, ALICE, STAFF, -1), "r-");
	root_is(0750, 0, STAFF);
	SAME(rights_as(fd, ALICE, STAFF, -1), "r-");
	SAME(rights_as(fd, ALICE, CREW, STAFF), "r-");
	SAME(rights_as(fd, ALICE, CREW, -1), "--");
	root_is(0773, ALICE, STAFF);
	SAME(rights_as(fd, ALICE, CREW, -1), "rw");
	SAME(rights_as(fd, BOB, CREW, STAFF), "rw");
	SAME(rights_as(fd, BOB, CREW, -1), "-w");
	root_is(0077, ALICE,
		STAFF); /* the owner's bits count for the owner, whatever others have */
	SAME(rights_as(fd, ALICE, STAFF, -1), "--");
	root_again();
}

CASE(access_by_a_list_of_the_root_directory)
{
	int fd = begin();

	set_acl("..", USER, ALICE, 7, 7);
	SAME(rights_as(fd, ALICE, STAFF, -1), "rw");
	SAME(rights_as(fd, BOB, STAFF, -1), "r-");
	set_acl("..", USER, ALICE, 7, 5);
	SAME(rights_as(fd, ALICE, STAFF, -1), "r-");
	set_acl("..", USER, ALICE, 0, 7);
	SAME(rights_as(fd, ALICE, STAFF, -1), "--");
	set_acl("..", GROUP, CREW, 6, 7);
	SAME(rights_as(fd, ALICE, STAFF, CREW), "rw");
	set_acl("..", GROUP, CREW, 1, 7);
	SAME(rights_as(fd, ALICE, STAFF, CREW), "--");
	root_again();
}

static void keep_capabilities(unsigned long kept)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];

	OK(syscall(SYS_capget, &head, caps));
	caps[0].effective &= kept;
	caps[1].effective = 0;
	OK(syscall(SYS_capset, &head, caps));
}

CASE(access_of_root_is_that_of_its_capabilities)
{
	int fd = begin();

	root_is(0000, ALICE, STAFF);
	SAME(rights(fd), "rw");
	keep_capabilities(~(1ul << CAP_DAC_OVERRIDE));
	SAME(rights(fd), "r-"); /* CAP_DAC_READ_SEARCH is left */
	keep_capabilities(~(1ul << CAP_DAC_OVERRIDE | 1ul << CAP_DAC_READ_SEARCH));
	SAME(rights(fd), "--");
}

CASE(access_of_a_user_with_the_capability)
{
	int fd = begin();

	root_is(0000, 0, 0);
	OK(setresuid(-1, ALICE, -1));
	SAME(rights(fd), "--");
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	OK(syscall(SYS_capget, &head, caps));
	caps[0].effective |= 1u << CAP_DAC_OVERRIDE;
	OK(syscall(SYS_capset, &head, caps));
	SAME(rights(fd), "rw");
}

static int swap_byte(int fd)
{
	memset(&request.write, 0, sizeof request.write + 1);
	request.write.version = MNEME_IOC_VERSION;
	request.write.length = 1;
	request.write.data[0] = 'x';
	return records_send(fd, MNEME_IOC_NR_WRITE, sizeof request.write + 1);
}

/* The ioctl and open(2) agree. */
static int may_write(uid_t uid, gid_t gid, long extra)
{
	int fd = OK(open("f", O_RDONLY));

	act_as(uid, gid, extra);
	int writes = !swap_byte(fd);
	YES(writes || errno == EACCES);
	int opened = open("f", O_WRONLY);
	EQ(opened >= 0, writes);
	act_as_root();
	if (opened >= 0)
		close(opened);
	close(fd);
	return writes;
}

CASE(access_of_a_write_is_that_of_the_file)
{
	begin();
	make_file("f", "abc", 0664);
	OK(chown("f", ALICE, STAFF));
	YES(may_write(ALICE, CREW, -1));
	YES(may_write(BOB, STAFF, -1));
	YES(may_write(BOB, CREW, STAFF));
	YES(!may_write(BOB, CREW, -1));
	set_acl("f", USER, BOB, 6, 7);
	YES(may_write(BOB, CREW, -1));
	YES(!may_write(CAROL, CREW, -1));
	set_acl("f", USER, BOB, 4, 7);
	YES(!may_write(BOB, STAFF, -1));
	OK(chown("f", CAROL, CREW));
	int fd = OK(open("f", O_RDONLY));
	keep_capabilities(~(1ul << CAP_DAC_OVERRIDE));
	FAILS(swap_byte(fd), EACCES);
}

CASE(access_immutable_is_for_everybody)
{
	begin();
	make_file("f", "abc", 0666);
	int fd = OK(open("f", O_RDONLY)), flags = FS_IMMUTABLE_FL;

	OK(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	FAILS(swap_byte(fd), EPERM);
	flags = 0;
	OK(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	OK(swap_byte(fd));
}
