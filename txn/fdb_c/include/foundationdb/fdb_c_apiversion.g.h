/* The newest version of FoundationDB's C API that this library speaks. */
#ifndef FDB_C_APIVERSION_G_H
#define FDB_C_APIVERSION_G_H

#define FDB_LATEST_API_VERSION 800

#endif
