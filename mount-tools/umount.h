/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the helper of umount(8): unmounts, and returns when the daemon has closed the store.
 */
#ifndef MNEME_MOUNT_TOOLS_UMOUNT_H
#define MNEME_MOUNT_TOOLS_UMOUNT_H

/* Was the program called as umount.mnemefs or umount.fuse.mnemefs? */
int umount_is_called(const char *program);
/* The whole helper, once in a process. Returns the exit status: 0; 1 usage; 32 it could not be unmounted;
 * 64 it is unmounted, but whether the store is closed is not known. */
int umount_main(int argc, char **argv);

#endif
