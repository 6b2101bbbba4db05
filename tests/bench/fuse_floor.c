/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the floor of bench_fuse: a filesystem in memory that answers at once and keeps nothing, with
 *            the settings towards the kernel that mnemefs has, and its scheduling class on a machine with
 *            an idle core. What it takes is what FUSE takes.
 * Use:       fuse_floor DIR [uring]: mounts on DIR and goes to the background; umount DIR ends it.
 * Invariants: a node number is the address of its inode; an inode lives while a name or the kernel has
 *            it.
 * Threading: one lock for everything, taken for as long as a table is looked at or bytes are copied.
 * Failure:   no memory: it aborts. It has what the benchmark asks for and no more.
 */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

enum { NAMES = 1 << 18, XATTR_MAX = 256, FOREVER = 86400 };

struct inode {
	struct stat st;
	char *data;
	size_t room;
	char xattr[XATTR_MAX]; /* one, whatever its name */
	size_t xattr_length;
	uint64_t lookups;
	struct name *first, *last; /* of a directory */
	uint64_t cookies;
};

struct name {
	struct name *chain;           /* of the hash table */
	struct name *before, *behind; /* in the directory */
	struct inode *dir, *inode;
	uint64_t cookie;
	char text[];
};

static struct name *names[NAMES];
static struct inode root;
static uint64_t numbers = 2;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static struct inode *inode_of(fuse_ino_t node)
{
	return node == FUSE_ROOT_ID ? &root : (struct inode *)node;
}

/* ---- names ---- */

static struct name **chain_of(const struct inode *dir, const char *text)
{
	uint64_t h = (uintptr_t)dir * 0x9e3779b97f4a7c15u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return &names[(h ^ h >> 29) % NAMES];
}

static struct name *name_find(const struct inode *dir, const char *text)
{
	struct name *n = *chain_of(dir, text);

	while (n && (n->dir != dir || strcmp(n->text, text)))
		n = n->chain;
	return n;
}

static void name_add(struct inode *dir, const char *text, struct inode *inode)
{
	size_t length = strlen(text) + 1;
	struct name *n = must(malloc(sizeof(*n) + length)), **chain = chain_of(dir, text);

	*n = (struct name){.chain = *chain, .before = dir->last, .dir = dir, .inode = inode};
	n->cookie = ++dir->cookies;
	memcpy(n->text, text, length);
	*chain = n;
	*(dir->last ? &dir->last->behind : &dir->first) = n;
	dir->last = n;
}

static void name_remove(struct name *n)
{
	struct name **chain = chain_of(n->dir, n->text);

	while (*chain != n)
		chain = &(*chain)->chain;
	*chain = n->chain;
	*(n->before ? &n->before->behind : &n->dir->first) = n->behind;
	*(n->behind ? &n->behind->before : &n->dir->last) = n->before;
	free(n);
}

/* ---- inodes ---- */

static void inode_drop(struct inode *inode, uint64_t lookups)
{
	inode->lookups -= lookups;
	if (inode == &root || inode->lookups || inode->st.st_nlink)
		return;
	free(inode->data);
	free(inode);
}

static void inode_resize(struct inode *inode, size_t size)
{
	if (size > inode->room) {
		for (inode->room = inode->room ? inode->room : 512; inode->room < size;)
			inode->room *= 2;
		inode->data = must(realloc(inode->data, inode->room));
	}
	if (size > (size_t)inode->st.st_size)
		memset(inode->data + inode->st.st_size, 0, size - (size_t)inode->st.st_size);
	inode->st.st_size = (off_t)size;
	inode->st.st_blocks = (blkcnt_t)(size + 511) / 512;
}

static struct fuse_entry_param entry_of(struct inode *inode)
{
	inode->lookups++;
	return (struct fuse_entry_param){
		.ino = inode == &root ? FUSE_ROOT_ID : (fuse_ino_t)inode,
		.attr = inode->st,
		.attr_timeout = FOREVER,
		.entry_timeout = FOREVER,
	};
}

/* 0 and the new entry, or EEXIST. */
static int make(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode,
		struct fuse_entry_param *out)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	int err = EEXIST;

	pthread_rwlock_wrlock(&lock);
	if (!name_find(inode_of(parent), text)) {
		struct inode *inode = must(calloc(1, sizeof(*inode)));
		inode->st = (struct stat){.st_ino = numbers++,
					  .st_mode = mode,
					  .st_nlink = S_ISDIR(mode) ? 2 : 1,
					  .st_uid = caller->uid,
					  .st_gid = caller->gid,
					  .st_blksize = 4096};
		clock_gettime(CLOCK_REALTIME_COARSE, &inode->st.st_mtim);
		inode->st.st_atim = inode->st.st_ctim = inode->st.st_mtim;
		name_add(inode_of(parent), text, inode);
		*out = entry_of(inode);
		err = 0;
	}
	pthread_rwlock_unlock(&lock);
	return err;
}

static void remove_name(struct name *n)
{
	struct inode *inode = n->inode;

	name_remove(n);
	inode->st.st_nlink = 0;
	inode_drop(inode, 0);
}

/* ---- handlers ---- */

static void handle_lookup(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	struct fuse_entry_param entry = {.entry_timeout = FOREVER};

	pthread_rwlock_wrlock(&lock);
	struct name *n = name_find(inode_of(parent), text);
	if (n)
		entry = entry_of(n->inode);
	pthread_rwlock_unlock(&lock);
	fuse_reply_entry(req, &entry);
}

static void handle_forget(fuse_req_t req, fuse_ino_t node, uint64_t lookups)
{
	pthread_rwlock_wrlock(&lock);
	inode_drop(inode_of(node), lookups);
	pthread_rwlock_unlock(&lock);
	fuse_reply_none(req);
}

static void handle_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	pthread_rwlock_wrlock(&lock);
	for (size_t i = 0; i < count; i++)
		inode_drop(inode_of(forgets[i].ino), forgets[i].nlookup);
	pthread_rwlock_unlock(&lock);
	fuse_reply_none(req);
}

static void handle_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)fi;
	fuse_reply_attr(req, &inode_of(node)->st, FOREVER);
}

static void handle_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int what,
			   struct fuse_file_info *fi)
{
	struct inode *inode = inode_of(node);

	(void)fi;
	pthread_rwlock_wrlock(&lock);
	if (what & FUSE_SET_ATTR_SIZE)
		inode_resize(inode, (size_t)st->st_size);
	if (what & FUSE_SET_ATTR_MODE)
		inode->st.st_mode = st->st_mode;
	if (what & FUSE_SET_ATTR_MTIME)
		inode->st.st_mtim = st->st_mtim;
	struct stat now = inode->st;
	pthread_rwlock_unlock(&lock);
	fuse_reply_attr(req, &now, FOREVER);
}

static void handle_mkdir(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode)
{
	struct fuse_entry_param entry;
	int err = make(req, parent, text, mode | S_IFDIR, &entry);

	err ? fuse_reply_err(req, err) : fuse_reply_entry(req, &entry);
}

static void handle_mknod(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode,
			 dev_t dev)
{
	struct fuse_entry_param entry;
	int err = make(req, parent, text, mode, &entry);

	(void)dev;
	err ? fuse_reply_err(req, err) : fuse_reply_entry(req, &entry);
}

static void handle_create(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode,
			  struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	int err = make(req, parent, text, mode, &entry);

	fi->keep_cache = 1;
	fi->direct_io = (fi->flags & O_ACCMODE) == O_WRONLY;
	err ? fuse_reply_err(req, err) : fuse_reply_create(req, &entry, fi);
}

static void handle_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t at,
			struct fuse_file_info *fi)
{
	struct inode *inode = inode_of(node);

	(void)fi;
	pthread_rwlock_rdlock(&lock);
	size_t have = at < inode->st.st_size ? (size_t)(inode->st.st_size - at) : 0;
	fuse_reply_buf(req, inode->data + at, have < size ? have : size);
	pthread_rwlock_unlock(&lock);
}

static void handle_write(fuse_req_t req, fuse_ino_t node, const char *bytes, size_t size, off_t at,
			 struct fuse_file_info *fi)
{
	struct inode *inode = inode_of(node);

	(void)fi;
	pthread_rwlock_wrlock(&lock);
	if ((size_t)at + size > (size_t)inode->st.st_size)
		inode_resize(inode, (size_t)at + size);
	memcpy(inode->data + at, bytes, size);
	pthread_rwlock_unlock(&lock);
	fuse_reply_write(req, size);
}

static void handle_fsync(fuse_req_t req, fuse_ino_t node, int data_only, struct fuse_file_info *fi)
{
	(void)node, (void)data_only, (void)fi;
	fuse_reply_err(req, 0);
}

static void handle_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node, (void)fi;
	fuse_reply_err(req, 0);
}

static void handle_unlink(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	pthread_rwlock_wrlock(&lock);
	struct name *n = name_find(inode_of(parent), text);
	if (n)
		remove_name(n);
	pthread_rwlock_unlock(&lock);
	fuse_reply_err(req, n ? 0 : ENOENT);
}

static void handle_rmdir(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	pthread_rwlock_wrlock(&lock);
	struct name *n = name_find(inode_of(parent), text);
	int err = !n ? ENOENT : n->inode->first ? ENOTEMPTY : 0;
	if (!err)
		remove_name(n);
	pthread_rwlock_unlock(&lock);
	fuse_reply_err(req, err);
}

static void handle_rename(fuse_req_t req, fuse_ino_t parent, const char *text,
			  fuse_ino_t new_parent, const char *new_text, unsigned flags)
{
	(void)flags;
	pthread_rwlock_wrlock(&lock);
	struct name *n = name_find(inode_of(parent), text);
	struct name *replaced = name_find(inode_of(new_parent), new_text);
	if (n) {
		struct inode *inode = n->inode;
		if (replaced && replaced != n)
			remove_name(replaced);
		name_remove(n);
		name_add(inode_of(new_parent), new_text, inode);
	}
	pthread_rwlock_unlock(&lock);
	fuse_reply_err(req, n ? 0 : ENOENT);
}

static void handle_setxattr(fuse_req_t req, fuse_ino_t node, const char *text, const char *value,
			    size_t length, int flags)
{
	struct inode *inode = inode_of(node);
	int err = strncmp(text, "user.", 5) ? EOPNOTSUPP : length > XATTR_MAX ? E2BIG : 0;

	(void)flags;
	pthread_rwlock_wrlock(&lock);
	if (!err)
		memcpy(inode->xattr, value, inode->xattr_length = length);
	pthread_rwlock_unlock(&lock);
	fuse_reply_err(req, err);
}

static void handle_getxattr(fuse_req_t req, fuse_ino_t node, const char *text, size_t size)
{
	struct inode *inode = inode_of(node);
	char value[XATTR_MAX];

	pthread_rwlock_rdlock(&lock);
	size_t length = strncmp(text, "user.", 5) ? 0 : inode->xattr_length;
	memcpy(value, inode->xattr, length);
	pthread_rwlock_unlock(&lock);
	if (!length)
		fuse_reply_err(req, ENODATA);
	else if (!size)
		fuse_reply_xattr(req, length);
	else if (size < length)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, length);
}

static void handle_ioctl(fuse_req_t req, fuse_ino_t node, unsigned command, void *arg,
			 struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
			 size_t out_size)
{
	char out[XATTR_MAX] = {0};

	(void)node, (void)arg, (void)fi, (void)flags, (void)in, (void)in_size;
	if (_IOC_TYPE(command) != 'M' || out_size > sizeof(out))
		fuse_reply_err(req, ENOTTY);
	else
		fuse_reply_ioctl(req, 0, out, out_size);
}

static void list(fuse_req_t req, fuse_ino_t node, size_t size, off_t after, int plus)
{
	char *out = must(malloc(size));
	size_t used = 0, one;

	pthread_rwlock_wrlock(&lock);
	for (struct name *n = inode_of(node)->first; n; n = n->behind) {
		if (n->cookie <= (uint64_t)after)
			continue;
		if (plus) {
			struct fuse_entry_param entry = entry_of(n->inode);
			one = fuse_add_direntry_plus(req, out + used, size - used, n->text, &entry,
						     (off_t)n->cookie);
			if (one > size - used)
				n->inode->lookups--;
		} else {
			one = fuse_add_direntry(req, out + used, size - used, n->text,
						&n->inode->st, (off_t)n->cookie);
		}
		if (one > size - used)
			break;
		used += one;
	}
	pthread_rwlock_unlock(&lock);
	fuse_reply_buf(req, out, used);
	free(out);
}

static void handle_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t after,
			   struct fuse_file_info *fi)
{
	(void)fi;
	list(req, node, size, after, 0);
}

static void handle_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t after,
			       struct fuse_file_info *fi)
{
	(void)fi;
	list(req, node, size, after, 1);
}

/* open, opendir and flush are not there; told so, the kernel sends none. */
static void handle_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
#if FUSE_VERSION >= 317
	fuse_set_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	fuse_set_feature_flag(conn, FUSE_CAP_NO_OPEN_SUPPORT);
	fuse_set_feature_flag(conn, FUSE_CAP_NO_OPENDIR_SUPPORT);
	fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
#endif
#if FUSE_VERSION >= 318
	conn->no_interrupt = 1;
#endif
	conn->time_gran = 1;
}

static const struct fuse_lowlevel_ops handlers = {
	.init = handle_init,
	.lookup = handle_lookup,
	.forget = handle_forget,
	.forget_multi = handle_forget_multi,
	.getattr = handle_getattr,
	.setattr = handle_setattr,
	.mkdir = handle_mkdir,
	.mknod = handle_mknod,
	.create = handle_create,
	.read = handle_read,
	.write = handle_write,
	.fsync = handle_fsync,
	.release = handle_release,
	.unlink = handle_unlink,
	.rmdir = handle_rmdir,
	.rename = handle_rename,
	.setxattr = handle_setxattr,
	.getxattr = handle_getxattr,
	.ioctl = handle_ioctl,
	.readdir = handle_readdir,
	.readdirplus = handle_readdirplus,
};

int main(int argc, char **argv)
{
	int uring = argc == 3 && !strcmp(argv[2], "uring");
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (argc < 2 || argc > 3 || (argc == 3 && !uring)) {
		fprintf(stderr, "usage: fuse_floor DIR [uring]\n");
		return 2;
	}
	if (fuse_opt_add_arg(&args, argv[0]) || fuse_opt_add_arg(&args, "-o") ||
	    fuse_opt_add_arg(&args, "subtype=floor,default_permissions,allow_other") ||
	    (uring && (fuse_opt_add_arg(&args, "-o") ||
		       fuse_opt_add_arg(&args, "io_uring,io_uring_q_depth=8"))))
		return 1;
	root.st = (struct stat){.st_ino = 1, .st_mode = S_IFDIR | 0755, .st_nlink = 2};
	struct fuse_session *session = fuse_session_new(&args, &handlers, sizeof(handlers), NULL);
	if (!session || fuse_session_mount(session, argv[1]))
		return 1;
	fuse_daemonize(0);
	sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_clone_fd(config, !uring);
	int rc = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return rc != 0;
}
