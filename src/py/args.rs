//! Arguments of native methods: positional ones, keywords, defaults, and CPython's errors.

use pyo3_ffi as ffi;

use super::error::{Res, type_error};
use super::names::Name;
use super::object::{Any, AsObject, Ptr};
use super::value;

/// The arguments of one call, borrowed from the caller.
pub(crate) struct Args<'a> {
    pub(crate) positional: &'a [&'a Any],
    keywords: Keywords<'a>,
}

#[derive(Clone, Copy)]
enum Keywords<'a> {
    None,
    /// A vectorcall's: a tuple of names, and the values behind the positional arguments.
    Names(&'a [&'a Any], &'a [&'a Any]),
    /// `tp_new`'s and `tp_init`'s.
    Dict(&'a Any),
}

/// Arguments sorted by [`Args::leading`].
pub(crate) struct Leading<'a, const K: usize> {
    pub(crate) first: [&'a Any; K],
    pub(crate) rest: &'a [&'a Any],
    pub(crate) context: Option<&'a Any>,
}

/// What a method takes: its name and its parameters, of which the first `positional` may be
/// given by place and the first `required` must be given.
pub(crate) struct Signature<const N: usize> {
    pub(crate) method: &'static str,
    pub(crate) names: [&'static Name; N],
    pub(crate) positional: usize,
    pub(crate) required: usize,
}

impl<'a> Args<'a> {
    /// # Safety
    /// The arguments of a `METH_FASTCALL | METH_KEYWORDS` call that lasts for `'a`.
    #[inline(always)]
    pub(super) unsafe fn fast(args: *const Ptr, count: isize, names: Ptr) -> Args<'a> {
        let count = count as usize;
        if args.is_null() {
            return Args { positional: &[], keywords: Keywords::None };
        }
        // SAFETY: the caller's promise; `&Any` is a `PyObject *`.
        unsafe {
            let args = args.cast::<&Any>();
            let keywords = if names.is_null() {
                Keywords::None
            } else {
                let names = value::tuple_items(Any::from_ptr(names));
                Keywords::Names(names, std::slice::from_raw_parts(args.add(count), names.len()))
            };
            Args { positional: std::slice::from_raw_parts(args, count), keywords }
        }
    }

    /// # Safety
    /// The arguments of a `tp_new` or `tp_init` call that lasts for `'a`.
    pub(super) unsafe fn slot(args: Ptr, keywords: Ptr) -> Args<'a> {
        // SAFETY: the caller's promise: a tuple, and a dict or null.
        unsafe {
            Args {
                positional: value::tuple_items(Any::from_ptr(args)),
                keywords: if keywords.is_null() {
                    Keywords::None
                } else {
                    Keywords::Dict(Any::from_ptr(keywords))
                },
            }
        }
    }

    /// The keywords alone, for functions whose positional arguments are a list.
    pub(crate) fn keywords_only(&self) -> Args<'a> {
        Args { positional: &[], keywords: self.keywords }
    }

    #[inline(always)]
    pub(crate) fn has_no_keywords(&self) -> bool {
        matches!(self.keywords, Keywords::None)
    }

    /// Runs `f` with each keyword and its value.
    pub(crate) fn each_keyword(&self, mut f: impl FnMut(&'a Any, &'a Any) -> Res<()>) -> Res<()> {
        match self.keywords {
            Keywords::None => Ok(()),
            Keywords::Names(names, values) => {
                for (name, value) in names.iter().zip(values) {
                    f(name, value)?;
                }
                Ok(())
            }
            Keywords::Dict(dict) => {
                let (mut place, mut name, mut value) =
                    (0, std::ptr::null_mut(), std::ptr::null_mut());
                // SAFETY: the dict is the call's own, nobody changes it while we walk.
                while unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut place, &mut name, &mut value) }
                    != 0
                {
                    // SAFETY: borrowed from the dict, which lives for 'a.
                    unsafe { f(Any::from_ptr(name), Any::from_ptr(value))? }
                }
                Ok(())
            }
        }
    }

    /// The shape of `call_later(delay, callback, *args, context=None)`: the first `K` arguments by
    /// place or by name, any more by place, and a context by name.
    #[inline(always)]
    pub(crate) fn leading<const K: usize>(
        &self,
        method: &'static str,
        names: [&'static Name; K],
    ) -> Res<Leading<'a, K>> {
        if let (Keywords::None, Some((first, rest))) =
            (&self.keywords, self.positional.split_first_chunk::<K>())
        {
            return Ok(Leading { first: *first, rest, context: None });
        }
        self.leading_by_name(method, names)
    }

    #[inline(never)]
    fn leading_by_name<const K: usize>(
        &self,
        method: &'static str,
        names: [&'static Name; K],
    ) -> Res<Leading<'a, K>> {
        let placed = self.positional.len().min(K);
        let mut first = [None; K];
        for (place, arg) in first.iter_mut().zip(self.positional) {
            *place = Some(*arg);
        }
        let mut context = None;
        self.each_keyword(|name, value| {
            if super::names::CONTEXT.matches(name) {
                context = Some(value).filter(|value| !value.is_none());
                return Ok(());
            }
            let Some(index) = names.iter().position(|known| known.matches(name)) else {
                return Err(unexpected(method, name));
            };
            if first[index].replace(value).is_some() {
                return Err(type_error(&format!(
                    "{method}() got multiple values for argument '{}'",
                    names[index].text()
                )));
            }
            Ok(())
        })?;
        let mut found = [value::none_ref(); K];
        for (index, place) in found.iter_mut().enumerate() {
            let Some(arg) = first[index] else {
                return Err(type_error(&format!(
                    "{method}() missing 1 required positional argument: '{}'",
                    names[index].text()
                )));
            };
            *place = arg;
        }
        Ok(Leading { first: found, rest: &self.positional[placed..], context })
    }

    /// Sorts the arguments into the signature's parameters.
    #[inline(always)]
    pub(crate) fn bind<const N: usize>(
        &self,
        signature: &Signature<N>,
    ) -> Res<[Option<&'a Any>; N]> {
        let given = self.positional.len();
        if self.has_no_keywords() && given <= signature.positional && given >= signature.required {
            return Ok(std::array::from_fn(|index| self.positional.get(index).copied()));
        }
        self.bind_keywords(signature)
    }

    #[inline(never)]
    fn bind_keywords<const N: usize>(&self, signature: &Signature<N>) -> Res<[Option<&'a Any>; N]> {
        self.bind_extra(signature, |name, _| Err(unexpected(signature.method, name)))
    }

    /// As `bind`, handing keywords that the signature does not know to `extra`.
    pub(crate) fn bind_extra<const N: usize>(
        &self,
        signature: &Signature<N>,
        mut extra: impl FnMut(&'a Any, &'a Any) -> Res<()>,
    ) -> Res<[Option<&'a Any>; N]> {
        let mut bound = [None; N];
        let given = self.positional.len();
        if given > signature.positional {
            return Err(too_many(signature, given));
        }
        for (place, arg) in bound.iter_mut().zip(self.positional) {
            *place = Some(*arg);
        }
        self.each_keyword(|name, value| {
            for (index, known) in signature.names.iter().enumerate() {
                if known.matches(name) {
                    if bound[index].is_some() {
                        return Err(twice(signature.method, known.text(), index));
                    }
                    bound[index] = Some(value);
                    return Ok(());
                }
            }
            extra(name, value)
        })?;
        for (index, place) in bound.iter().enumerate().take(signature.required) {
            if place.is_none() {
                return Err(missing(signature.method, signature.names[index].text(), index));
            }
        }
        Ok(bound)
    }
}

#[cold]
fn too_many<const N: usize>(signature: &Signature<N>, given: usize) -> super::Raised {
    let most = signature.positional;
    let method = signature.method;
    if most == 0 {
        return type_error(&format!("{method}() takes no positional arguments ({given} given)"));
    }
    let plural = if most == 1 { "" } else { "s" };
    type_error(&format!(
        "{method}() takes at most {most} positional argument{plural} ({given} given)"
    ))
}

#[cold]
fn missing(method: &str, name: &str, index: usize) -> super::Raised {
    type_error(&format!("{method}() missing required argument '{name}' (pos {})", index + 1))
}

#[cold]
fn twice(method: &str, name: &str, index: usize) -> super::Raised {
    type_error(&format!(
        "argument for {method}() given by name ('{name}') and position ({})",
        index + 1
    ))
}

#[cold]
pub(crate) fn unexpected(method: &str, name: &Any) -> super::Raised {
    let name = value::text_of(name).unwrap_or_default();
    type_error(&format!("{method}() got an unexpected keyword argument '{name}'"))
}
